"""Parameters of a run: what ``{param.NAME}`` in a list of words becomes, and which variable.

A value reaches a command in two ways, and neither can inject anything: as the environment variable
``SUPERVISED_PARAM_<NAME>``, the name in capitals, or inside one word of an argv, which stays one
word whatever the value holds. Text for a shell is never filled in: it reads the variable.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from workers.records.spec import Pairs, PipelineSpec, StageSpec

PREFIX: Final = "SUPERVISED_PARAM_"
_PLACE: Final = re.compile(r"\{param\.([^{}]*)\}")


def param_variable(name: str) -> str:
    """The environment variable that holds a parameter."""
    return PREFIX + name.upper()


def param_names(text: str) -> tuple[str, ...]:
    """The parameters that a text names, in order."""
    return tuple(_PLACE.findall(text))


def fill_in(text: str, values: Mapping[str, str]) -> str:
    """A text with every ``{param.NAME}`` replaced, once: a value is never looked at again.

    Args:
        text: what was written.
        values: by the parameter's name; one that is missing stays as it was written.
    """
    return _PLACE.sub(lambda found: values.get(found[1], found[0]), text)


def bind_params(pipeline: PipelineSpec, params: Pairs) -> PipelineSpec:
    """A pipeline with the parameters of one run filled in."""
    values = dict(params)
    return replace(pipeline, stages=tuple(_stage(stage, values) for stage in pipeline.stages))


def _stage(stage: StageSpec, values: Mapping[str, str]) -> StageSpec:
    command = stage.command
    if isinstance(command, tuple):
        command = tuple(fill_in(word, values) for word in command)
    params = tuple((name, fill_in(text, values)) for name, text in stage.params)
    return replace(stage, command=command, params=params)


def subpipeline_params(stage: StageSpec, pipeline: PipelineSpec) -> Pairs:
    """The parameters of the run that a stage of a bound pipeline asks for.

    Args:
        stage: what its parent says.
        pipeline: what it runs, with its defaults.
    """
    said = dict(stage.params)
    values = ((item.name, said.get(item.name, item.default)) for item in pipeline.takes)
    return tuple((name, value) for name, value in values if value is not None)

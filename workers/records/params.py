"""Parameters of a run: ``{param.NAME}`` in an argv, and environment variables.

A value reaches a command in two ways, and neither can inject anything: as the environment variable
``SUPERVISED_PARAM_<NAME>`` (the name in capitals), or inside one argument of an argv, which stays
one argument whatever the value contains. Text for a shell is never filled in: it reads the
variable.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from workers.records.spec import Pairs, PipelineSpec, StageSpec

PREFIX: Final = "SUPERVISED_PARAM_"
_PLACEHOLDER: Final = re.compile(r"\{param\.([^{}]*)\}")


def param_variable(name: str) -> str:
    """The environment variable of a parameter."""
    return PREFIX + name.upper()


def param_names(text: str) -> tuple[str, ...]:
    """The parameters that a text refers to, in order."""
    return tuple(_PLACEHOLDER.findall(text))


def fill_in(text: str, values: Mapping[str, str]) -> str:
    """Replace every ``{param.NAME}`` of a text once; values are not searched again.

    Args:
        text: the text as written.
        values: by parameter name; a placeholder without a value stays.
    """
    return _PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), text)


def bind_params(pipeline: PipelineSpec, params: Pairs) -> PipelineSpec:
    """A pipeline with the parameters of one run filled in."""
    values = dict(params)
    return replace(pipeline, stages=tuple(_bind(stage, values) for stage in pipeline.stages))


def _bind(stage: StageSpec, values: Mapping[str, str]) -> StageSpec:
    command = stage.command
    if isinstance(command, tuple):
        command = tuple(fill_in(argument, values) for argument in command)
    params = tuple((name, fill_in(text, values)) for name, text in stage.params)
    return replace(stage, command=command, params=params)


def subpipeline_params(stage: StageSpec, pipeline: PipelineSpec) -> Pairs:
    """The parameters of the run that a stage of a bound pipeline requests.

    Args:
        stage: the stage of the parent.
        pipeline: the sub-pipeline, with its defaults.
    """
    given = dict(stage.params)
    values = ((item.name, given.get(item.name, item.default)) for item in pipeline.takes)
    return tuple((name, value) for name, value in values if value is not None)

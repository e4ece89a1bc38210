"""Parameters: from a value to the text that commands get, and the problems of a value.

No message contains a value: it could be a secret.
"""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Final

from supervisor.config.suggest import near
from supervisor.errors import Problem
from workers.records.params import param_names
from workers.records.spec import Pairs, ParamSpec, PipelineSpec, StageSpec

VALUE_LIMIT_BYTES: Final = 65_536  # half of Linux's limit for one argument (MAX_ARG_STRLEN)
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,30}")
_TYPES: Final = {
    "string": "a string",
    "integer": "an integer",
    "number": "a finite number",
    "boolean": "true or false",
}


def text_of(kind: str, value: object) -> str | None:
    """A value of TOML as commands get it, None if it is not of this type."""
    match kind, value:
        case "boolean", bool():
            return "true" if value else "false"
        case "integer" | "number", int() if not isinstance(value, bool):
            return str(value)
        case "number", float() if math.isfinite(value):
            return repr(value)
        case "string", str():
            return value
        case _:
            return None


def _text_read(kind: str, text: str) -> str | None:
    """A value of the command line as commands get it, None if it is not of this type."""
    match kind:
        case "string":
            return text
        case "boolean":
            return text if text in ("true", "false") else None
        case "integer":
            return str(int(text)) if _INTEGER.fullmatch(text) else None
        case _:
            try:
                value = int(text) if _INTEGER.fullmatch(text) else float(text)
            except ValueError:
                return None
            return text_of("number", value)


def resolve_params(pipeline: PipelineSpec, given: Mapping[str, object], *, typed: bool) -> Pairs:
    """The value of every parameter of a run; call it if ``param_problems`` finds none.

    Args:
        pipeline: what is to run.
        given: values by name.
        typed: the values are TOML's; False if they are text of the command line.
    """
    params = []
    for item in pipeline.takes:
        text = _text(item, given[item.name], typed=typed) if item.name in given else item.default
        if text is not None:
            params.append((item.name, text))
    return tuple(params)


def param_problems(
    pipeline: PipelineSpec, given: Mapping[str, object], *, typed: bool
) -> Iterator[tuple[str, str]]:
    """Check the values of a run's parameters: the name of each wrong one, and a message."""
    takes = {item.name: item for item in pipeline.takes}
    for name in given:
        if name not in takes:
            yield name, _unknown(name, takes, pipeline.id)
    for item in pipeline.takes:
        if item.name in given:
            problem = _value_problem(item, _text(item, given[item.name], typed=typed))
            if problem is not None:
                yield item.name, problem
        elif item.default is None:
            yield item.name, f"is missing; it must be {_wanted(item)}"


def _text(item: ParamSpec, value: object, *, typed: bool) -> str | None:
    return text_of(item.type, value) if typed else _text_read(item.type, str(value))


def _value_problem(item: ParamSpec, text: str | None) -> str | None:
    """Check one value; ``text`` is None if it is of another type. Returns a message or None."""
    if text is None or (item.choices and text not in item.choices):
        return f"must be {_wanted(item)}"
    if "\0" in text:
        return "must not contain a NUL character"
    if len(text.encode("utf-8", "surrogateescape")) > VALUE_LIMIT_BYTES:
        return f"is longer than {VALUE_LIMIT_BYTES} bytes"
    return None


def _wanted(item: ParamSpec) -> str:
    return f"one of {', '.join(item.choices)}" if item.choices else _TYPES[item.type]


def _unknown(name: str, takes: Mapping[str, ParamSpec], pipeline_id: str) -> str:
    hint = near(name, takes)
    if hint is not None:
        return f"is unknown; did you mean {hint!r}?"
    listed = f"takes {', '.join(takes)}" if takes else "takes none"
    return f"is unknown; pipeline {pipeline_id} {listed}"


def param_reference_problems(
    pipelines: Mapping[str, PipelineSpec], places: Mapping[str, str]
) -> Iterator[Problem]:
    """Check parameters that stages name: declared, and accepted by the sub-pipeline."""
    for name, pipeline in pipelines.items():
        takes = {item.name: item for item in pipeline.takes}
        for index, stage in enumerate(pipeline.stages):
            at = f"pipelines.{name}.stages[{index}]"
            for key, text in _stage_problems(stage, takes, pipelines, pipeline.id):
                yield Problem(places[name], f"{at}.{key}", text)


def _stage_problems(
    stage: StageSpec,
    takes: Mapping[str, ParamSpec],
    pipelines: Mapping[str, PipelineSpec],
    pipeline_id: str,
) -> Iterator[tuple[str, str]]:
    if isinstance(stage.command, str) and param_names(stage.command):
        text = 'is a string for the shell, in which no parameter is replaced: use "$SUPERVISED_'
        yield "command", f'{text}PARAM_<NAME>", or write a list'
    argv = stage.command if isinstance(stage.command, tuple) else ()
    for argument in (*argv, *(text for _, text in stage.params)):
        for name in param_names(argument):
            if name not in takes:
                text = f"param {name!r} {_unknown(name, takes, pipeline_id)}"
                yield "command" if argv else "params", text
    for key, text in [("cwd", stage.cwd or ""), *((f"env.{n}", v) for n, v in stage.env)]:
        if param_names(text):
            yield key, "must not contain a parameter; only arguments of a list and params may"
    target = pipelines.get(stage.pipeline or "")
    if target is None:
        return
    given = dict(stage.params)
    passed = {n: takes[p] for n, t in given.items() if (p := _passed(t)) in takes}
    for name, text in param_problems(target, given, typed=False):
        if name not in passed:
            yield f"params.{name}", text
    for item in target.takes:
        if item.name in passed and not _fits(passed[item.name], item):
            own = passed[item.name].name
            yield f"params.{item.name}", f"must be {_wanted(item)}, param {own} need not be"


def _passed(text: str) -> str:
    """The one parameter that a text consists of, "" if it is anything else."""
    names = param_names(text)
    return names[0] if len(names) == 1 and text == f"{{param.{names[0]}}}" else ""


def _fits(given: ParamSpec, wanted: ParamSpec) -> bool:
    """Check whether every value of one parameter is a value of another."""
    if wanted.choices:
        return bool(given.choices) and set(given.choices) <= set(wanted.choices)
    kinds = (given.type, wanted.type)
    return wanted.type in (given.type, "string") or kinds == ("integer", "number")

"""Parameters: from what was given to the text that commands see, and what is wrong with it.

A value is never part of a message: somebody may have given a secret.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from supervisor.config.suggest import near
from supervisor.errors import Problem, UsageError
from workers.records.params import param_names
from workers.records.spec import Pairs, ParamSpec, PipelineSpec, StageSpec

VALUE_LIMIT_BYTES: Final = 65_536  # half of what Linux takes as one word (MAX_ARG_STRLEN)
_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,30}")
_NAMES: Final = {
    "string": "text",
    "integer": "a whole number",
    "number": "a finite number",
    "boolean": "true or false",
}


def text_of(kind: str, value: object) -> str | None:
    """A value of TOML as commands see it, None where it is not of this type."""
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


def text_read(kind: str, text: str) -> str | None:
    """A value of the command line as commands see it, None where it is not of this type."""
    match kind:
        case "string":
            return text
        case "boolean":
            return text if text in ("true", "false") else None
        case "integer":
            return str(int(text)) if _WHOLE.fullmatch(text) else None
        case _:
            try:
                value = int(text) if _WHOLE.fullmatch(text) else float(text)
            except ValueError:
                return None
            return text_of("number", value)


def _is_utf_8(text: str) -> bool:
    """Check whether a word of the command line is text that any record can hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def words_of(words: Iterable[str]) -> dict[str, str]:
    """``NAME=VALUE`` as the command line has it; UsageError where one is not, or comes twice."""
    found: dict[str, str] = {}
    wrong = []
    for place, word in enumerate(words, 1):
        name, equals, value = word.partition("=")
        if not equals or not name:
            wrong.append(f"--param number {place} must be NAME=VALUE")
        elif not _is_utf_8(word):
            wrong.append(f"--param number {place} is not UTF-8 text")
        elif name in found:
            wrong.append(f"param {name!r} is given twice")
        found[name] = value
    if wrong:
        raise UsageError(reason="\n".join(wrong))
    return found


def resolved(pipeline: PipelineSpec, given: Mapping[str, object], *, typed: bool) -> Pairs:
    """The value of every parameter of a run; call where ``wrong_with`` finds nothing.

    Args:
        pipeline: what is to run.
        given: by name.
        typed: the values are TOML's; False where they are text of the command line.
    """
    found = []
    for item in pipeline.takes:
        text = item.default
        if item.name in given:
            value = given[item.name]
            text = text_of(item.type, value) if typed else text_read(item.type, str(value))
        if text is not None:
            found.append((item.name, text))
    return tuple(found)


def wrong_with(
    pipeline: PipelineSpec, given: Mapping[str, object], *, typed: bool
) -> Iterator[tuple[str, str]]:
    """What is wrong with the values that were given: the parameter's name, and why."""
    takes = {item.name: item for item in pipeline.takes}
    for name in given:
        if name not in takes:
            yield name, _unknown(name, takes, pipeline.id)
    for item in pipeline.takes:
        if item.name not in given:
            if item.default is None:
                yield item.name, f"is missing; it must be {_wanted(item)}"
            continue
        value = given[item.name]
        text = text_of(item.type, value) if typed else text_read(item.type, str(value))
        why = why_unfit(item, text)
        if why is not None:
            yield item.name, why


def why_unfit(item: ParamSpec, text: str | None) -> str | None:
    """Why a parameter cannot have a value; None where it can. ``text`` None: of another type."""
    if text is None or (item.choices and text not in item.choices):
        return f"must be {_wanted(item)}"
    if "\0" in text:
        return "must not contain a NUL character"
    if len(text.encode("utf-8", "surrogateescape")) > VALUE_LIMIT_BYTES:
        return f"is longer than {VALUE_LIMIT_BYTES} bytes"
    return None


def _wanted(item: ParamSpec) -> str:
    return f"one of {', '.join(item.choices)}" if item.choices else _NAMES[item.type]


def _unknown(name: str, takes: Mapping[str, ParamSpec], pipeline_id: str) -> str:
    hint = near(name, takes)
    if hint is not None:
        return f"is unknown; did you mean {hint!r}?"
    listed = f"takes {', '.join(takes)}" if takes else "takes none"
    return f"is unknown; pipeline {pipeline_id} {listed}"


def references_wrong(
    pipelines: Mapping[str, PipelineSpec], places: Mapping[str, str]
) -> Iterator[Problem]:
    """Parameters that stages name and nobody declares, or that a sub-pipeline cannot take."""
    for name, pipeline in pipelines.items():
        takes = {item.name: item for item in pipeline.takes}
        for index, stage in enumerate(pipeline.stages):
            at = f"pipelines.{name}.stages[{index}]"
            for key, why in _stage(stage, takes, pipelines, pipeline.id):
                yield Problem(places[name], f"{at}.{key}", why)


def _stage(
    stage: StageSpec,
    takes: Mapping[str, ParamSpec],
    pipelines: Mapping[str, PipelineSpec],
    pipeline_id: str,
) -> Iterator[tuple[str, str]]:
    if isinstance(stage.command, str) and param_names(stage.command):
        why = 'a shell\'s text is never filled in: write "$SUPERVISED_PARAM_<NAME>", or a list'
        yield "command", why
    words = stage.command if isinstance(stage.command, tuple) else ()
    for word in (*words, *(text for _, text in stage.params)):
        for name in param_names(word):
            if name not in takes:
                yield "command" if words else "params", f"{_param(name, takes, pipeline_id)}"
    for key, text in [("cwd", stage.cwd or ""), *((f"env.{n}", v) for n, v in stage.env)]:
        if param_names(text):
            yield key, "only words of a list and params are filled in, this is not"
    target = pipelines.get(stage.pipeline or "")
    if target is None:
        return
    said = dict(stage.params)
    whole = {n: takes[p[0]] for n, t in said.items() if (p := _whole(t)) and p[0] in takes}
    for name, why in wrong_with(target, said, typed=False):
        if name not in whole:
            yield f"params.{name}", why
    for item in target.takes:
        if item.name in whole and not _fits(whole[item.name], item):
            given = whole[item.name].name
            yield f"params.{item.name}", f"must be {_wanted(item)}, param {given} need not be"


def _param(name: str, takes: Mapping[str, ParamSpec], pipeline_id: str) -> str:
    return f"param {name!r} {_unknown(name, takes, pipeline_id)}"


def _whole(text: str) -> tuple[str, ...]:
    """The one parameter that a text consists of, empty where it is anything else."""
    names = param_names(text)
    return names if len(names) == 1 and text == f"{{param.{names[0]}}}" else ()


def _fits(given: ParamSpec, wanted: ParamSpec) -> bool:
    """Tell whether every value of one parameter is one of another."""
    if wanted.choices:
        return bool(given.choices) and set(given.choices) <= set(wanted.choices)
    return wanted.type in (given.type, "string") or (given.type, wanted.type) == (
        "integer",
        "number",
    )

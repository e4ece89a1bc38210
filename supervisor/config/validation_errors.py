"""pydantic's errors as this project's problems: the key path, what is wrong, the nearest right key.

A message never contains text from the file or a variable, which could be a secret; only numbers,
booleans and the names of keys.
"""

import json
import re
from collections.abc import Iterable
from typing import Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from supervisor.config.suggest import near
from supervisor.errors import Problem

SHOWN_LIMIT_CHARS: Final = 60  # of one foreign key or number in a message
_BARE: Final = re.compile(r"[A-Za-z0-9_-]{1,100}")  # a key that TOML allows without quotes
_BRANCH: Final = re.compile(r"\[key\]|(function-\w+|list|tuple|constrained-\w+)\[.*\]", re.DOTALL)
_TAGS: Final = ("command", "subpipeline", "stage-set")  # the origin's kinds of stages
_WANTED: Final = {
    "float_type": "a number",
    "int_type": "an integer",
    "bool_type": "true or false",
    "string_type": "a string",
    "list_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
}
_BOUNDS: Final = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}


def problems_of(
    error: ValidationError, source: str, prefix: str, keys: Iterable[str]
) -> list[Problem]:
    """Turn pydantic's errors into problems.

    Args:
        error: pydantic's errors.
        source: the file or variable.
        prefix: prepended to every key path, including its dot; "" for none.
        keys: names to suggest for an unknown key.
    """
    known = sorted(keys)
    details = [(_keys(detail), detail) for detail in error.errors(include_url=False)]
    about: dict[tuple[int | str, ...], list[ErrorDetails]] = {}
    for place, detail in details:
        about.setdefault(place, []).append(detail)
        if place and isinstance(place[-1], int):  # an error of an entry is one of its list, too
            about.setdefault(place[:-1], []).append(detail)
    problems: list[Problem] = []
    for place, detail in details:
        message = _explain(detail, known)
        rivals = about.get(place, [])
        if detail["type"] in _WANTED and len(rivals) > 1:
            # A string or a list: each branch refuses what the other accepts, or explains better.
            if any(other["type"] not in _WANTED or _keys(other) != place for other in rivals):
                continue
            kinds = " or ".join(_WANTED[other["type"]] for other in rivals)
            message = f"must be {kinds}, not {_kind_of(detail['input'])}"
        problem = Problem(source, _path(prefix, place), message)
        if problem not in problems:
            problems.append(problem)
    return problems


def _keys(detail: ErrorDetails) -> tuple[int | str, ...]:
    """The keys that lead to a place, without pydantic's names of union branches."""
    loc = [key for key in detail["loc"] if not (isinstance(key, str) and _BRANCH.fullmatch(key))]
    keys: list[int | str] = []
    for key, after in zip(loc, (*loc, None)[1:], strict=True):
        # After an index, a kind before another key is pydantic's name of a branch.
        tag = key in _TAGS and isinstance(after, str) and keys and isinstance(keys[-1], int)
        if not tag:
            keys.append(key)
    return tuple(keys)


def _path(prefix: str, keys: tuple[int | str, ...]) -> str:
    """A key path: pipelines.diagnostics.stages[1].command."""
    path = prefix.rstrip(".")
    for key in keys:
        if isinstance(key, int):
            path += f"[{key}]"
        else:
            part = key if _BARE.fullmatch(key) else json.dumps(key[:SHOWN_LIMIT_CHARS])
            path += f".{part}" if path else part
    return path


def _explain(detail: ErrorDetails, known: list[str]) -> str:
    """The message for one error."""
    kind, value, context = detail["type"], detail["input"], detail.get("ctx", {})
    if kind in ("extra_forbidden", "no_such_attribute"):
        hint = near(str(detail["loc"][-1]), known)
        return f"unknown key; did you mean '{hint}'?" if hint else "unknown key"
    if kind == "missing":
        return "is missing"
    if kind == "finite_number":
        return "must be a finite number, not nan or inf"
    if kind == "float_type" and isinstance(value, int) and not isinstance(value, bool):
        return "is too large a number"
    if kind in _WANTED:
        return f"must be {_WANTED[kind]}, not {_kind_of(value)}"
    if kind in _BOUNDS:
        bound, comparison = _BOUNDS[kind]
        return f"must be {comparison} {context[bound]:g}, not {_cut(value)}"
    if kind in ("too_short", "string_too_short"):
        return "must not be empty"
    if kind in ("too_long", "string_too_long"):
        return f"is too long; at most {context['max_length']} are allowed"
    if kind == "literal_error":
        return f"must be {context['expected']}"
    if kind == "union_tag_invalid":
        return f"kind must be one of {context['expected_tags']}"
    if kind == "union_tag_not_found":
        return f"has no kind: one of {', '.join(map(repr, _TAGS))}"
    return detail["msg"].removeprefix("Value error, ")


def _cut(value: object) -> str:
    text = str(value)
    return text if len(text) <= SHOWN_LIMIT_CHARS else text[: SHOWN_LIMIT_CHARS - 1] + "…"


def _kind_of(value: object) -> str:
    """The type of a value, in a message."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"the number {_cut(value)}"
        case str():
            return "a string"
        case list() | tuple():
            return "a list"
        case dict():
            return "a table"
        case _:
            return "a date or time"

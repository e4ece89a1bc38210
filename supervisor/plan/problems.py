"""What pydantic found, in this project's words: the place, what is wrong, the nearest right key.

A message never repeats text that stands in the file or in a variable (a secret may stand there),
only numbers, truth values and the names of keys.
"""

import difflib
import json
import re
from collections.abc import Iterable
from typing import Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from supervisor.errors import Problem

SHOWN_LIMIT_CHARS: Final = 60  # of one foreign key or number in a message
_NEAR_LIMIT: Final = 1000  # candidates that are compared with one wrong name
_BARE: Final = re.compile(r"[A-Za-z0-9_-]{1,100}")  # a key that TOML lets stand without quotes
_WANTED: Final = {
    "float_type": "a number",
    "int_type": "a whole number",
    "bool_type": "true or false",
    "string_type": "text",
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


def near(name: str, known: Iterable[str]) -> str | None:
    """The known name that is closest to a wrong one, None where none is close."""
    close = [other for other in known if abs(len(other) - len(name)) <= 4][:_NEAR_LIMIT]
    lowered = {other.lower(): other for other in close}
    found = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.65)
    return lowered[found[0]] if found else None


def problems_of(
    error: ValidationError, source: str, prefix: str, keys: Iterable[str]
) -> list[Problem]:
    """Turn what pydantic found into problems.

    Args:
        error: what it found.
        source: the file or variable.
        prefix: stands before every key path, its dot included; "" for none.
        keys: names that may have been meant where a key is unknown.
    """
    known = sorted(keys)
    found = []
    for detail in error.errors(include_url=False):
        place = prefix.rstrip(".")
        for key in detail["loc"]:
            if isinstance(key, int):
                place += f"[{key}]"
            elif key != "[key]":
                word = key if _BARE.fullmatch(key) else json.dumps(key[:SHOWN_LIMIT_CHARS])
                place += f".{word}" if place else word
        found.append(Problem(source, place, _explain(detail, known)))
    return found


def _explain(detail: ErrorDetails, known: list[str]) -> str:
    """One error in words."""
    kind, value, facts = detail["type"], detail["input"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        hint = near(str(detail["loc"][-1]), known)
        return f"unknown key; did you mean '{hint}'?" if hint else "unknown key"
    if kind == "missing":
        return "is missing; it must be given"
    if kind == "finite_number":
        return "must be a finite number, not nan or inf"
    if kind == "float_type" and isinstance(value, int) and not isinstance(value, bool):
        return "is too large a number"
    if kind in _WANTED:
        return f"must be {_WANTED[kind]}, not {_kind_of(value)}"
    if kind in _BOUNDS:
        fact, words = _BOUNDS[kind]
        return f"must be {words} {facts[fact]:g}, is {_cut(value)}"
    if kind in ("too_short", "string_too_short"):
        return "must not be empty"
    if kind in ("too_long", "string_too_long"):
        return f"is too long; at most {facts['max_length']} fit"
    if kind == "literal_error":
        return f"must be {facts['expected']}"
    return detail["msg"].removeprefix("Value error, ")


def _cut(value: object) -> str:
    text = str(value)
    return text if len(text) <= SHOWN_LIMIT_CHARS else text[: SHOWN_LIMIT_CHARS - 1] + "…"


def _kind_of(value: object) -> str:
    """Name the type of a value as a person would."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"the number {_cut(value)}"
        case str():
            return "text"
        case list() | tuple():
            return "a list"
        case dict():
            return "a table"
        case _:
            return "a date or time"

"""Records with one value of another type: what a hand, a bug or a hostile neighbour may leave."""

import json
import random
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

NESTED: Any = json.loads("[" * 200 + "]" * 200)
VALUES: dict[str, Any] = {
    "null": None,
    "true": True,
    "zero": 0,
    "huge": 10**400,
    "negative": -1,
    "NaN": float("nan"),
    "float": 1e308,
    "text": "x\x1b[31m\u202e\ud800",
    "empty text": "",
    "list": [],
    "list of texts": ["x"],
    "object": {},
    "object of objects": {"x": {"y": []}},
    "deep": NESTED,
}
"""What a value is replaced by; two of them are no JSON that any reader takes."""

MISSING = object()
Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Mutation:
    """One changed record: where, how, and the record."""

    at: Path
    how: str
    record: Any

    def __str__(self) -> str:
        return f"{'.'.join(map(str, self.at)) or 'all'} = {self.how}"


def paths(value: Any, at: Path = ()) -> Iterator[Path]:
    """Every place in a record, the whole of it first; of a list the first two items."""
    yield at
    if isinstance(value, dict):
        for key, item in value.items():
            yield from paths(item, (*at, key))
    elif isinstance(value, list):
        for index, item in enumerate(value[:2]):
            yield from paths(item, (*at, index))


def mutations(record: Any, sample: int | None, chance: random.Random) -> Iterator[Mutation]:
    """The record with one place changed, for every place and value; or a sample of them."""
    every = [(at, how) for at in paths(record) for how in (*VALUES, "missing")]
    every = [(at, how) for at, how in every if at or how != "missing"]
    if sample is not None and sample < len(every):
        every = chance.sample(every, sample)
    for at, how in every:
        yield Mutation(at, how, _with(record, at, VALUES.get(how, MISSING)))


def _with(record: Any, at: Path, value: Any) -> Any:
    if not at:
        return value
    changed = deepcopy(record)
    inner = changed
    for key in at[:-1]:
        inner = inner[key]
    if value is MISSING:
        del inner[at[-1]]
    else:
        inner[at[-1]] = value
    return changed


def text_of(record: Any) -> bytes:
    """The record as a file holds it; a number of absurd length stays one."""
    return json.dumps(record).encode()

"""What a supervisor and the process that talks to an engine say to each other: JSON lines.

::

    supervisor   {"do": "place", "key": "…", "run_dir": "…", "attempt": 1, "resources": {"slot": 1}}
                 {"do": "cancel", "key": "…", "claimed": false}   claimed: its worker is at work
    agent        {"say": "ready"}                                 it reaches the engine
                 {"say": "placed", "key": "…", "job": "…"}        as the engine calls it
                 {"say": "refused", "key": "…", "why": "…", "transient": true}
                 {"say": "ended", "key": "…", "why": "…"}         the engine has done with it
                 {"say": "note", "text": "…"}                     for the operator

A key is RUN_ID.ATTEMPT. Nothing that an agent says is believed about a run: it is a reason to look.
"""

import json
from collections.abc import Mapping
from dataclasses import field
from typing import Any, ClassVar, Final

from workers.records.atomic import to_line
from workers.records.dataclass import dataclass

LINE_LIMIT_BYTES: Final = 1_048_576  # a path, a few resources, an engine's words


class BadLineError(Exception):
    """A line that is none of this; its words say which."""


class _Message:
    """What one side says: a word, and a field for each attribute."""

    __slots__: tuple[str, ...] = ()
    _word: ClassVar[tuple[str, str]]

    def to_line(self) -> bytes:
        """As it is sent."""
        key, word = self._word
        return to_line({key: word, **{name: getattr(self, name) for name in self.__slots__}})


@dataclass(frozen=True, slots=True, kw_only=True)
class Place(_Message):
    """A wish that an attempt be placed.

    Attributes:
        key: RUN_ID.ATTEMPT.
        run_dir: the run's directory, by the same path on every host.
        attempt: which attempt, from 1.
        resources: what it takes of a host, by name; empty where it takes nothing.
    """

    _word = ("do", "place")

    key: str
    run_dir: str
    attempt: int
    resources: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cancel(_Message):
    """A wish that an attempt end, or never begin; ``claimed``: its worker is at work."""

    _word = ("do", "cancel")

    key: str
    claimed: bool


Order = Place | Cancel


@dataclass(frozen=True, slots=True)
class AgentReady(_Message):
    """The agent reaches its engine."""

    _word = ("say", "ready")


@dataclass(frozen=True, slots=True)
class Placed(_Message):
    """The engine has an attempt in its queue, or at work, as ``job``."""

    _word = ("say", "placed")

    key: str
    job: str


@dataclass(frozen=True, slots=True)
class Refused(_Message):
    """The engine does not take an attempt; ``transient`` where trying again may help."""

    _word = ("say", "refused")

    key: str
    why: str
    transient: bool


@dataclass(frozen=True, slots=True)
class JobEnded(_Message):
    """The engine has done with an attempt, or does not know it any more."""

    _word = ("say", "ended")

    key: str
    why: str


@dataclass(frozen=True, slots=True)
class Note(_Message):
    """Something that the operator should know."""

    _word = ("say", "note")

    text: str


Answer = AgentReady | Placed | Refused | JobEnded | Note


def parse_order(line: bytes) -> Order:
    """Read what a supervisor sent; BadLineError where it is nothing of this."""
    data = _object(line)
    match data:
        case {"do": "place", "key": str(key), "run_dir": str(run_dir), "attempt": int(attempt)}:
            resources = data.get("resources") or {}
            if isinstance(resources, dict):
                return Place(key=key, run_dir=run_dir, attempt=attempt, resources=resources)
        case {"do": "cancel", "key": str(key)}:
            return Cancel(key, bool(data.get("claimed")))
        case _:
            pass
    raise BadLineError(f"no request: {line[:200]!r}")


def parse_answer(line: bytes) -> Answer:
    """Read what an agent sent; BadLineError where it is nothing of this."""
    data = _object(line)
    match data:
        case {"say": "ready"}:
            return AgentReady()
        case {"say": "placed", "key": str(key)}:
            return Placed(key, str(data.get("job", "")))
        case {"say": "refused", "key": str(key), "why": str(why)}:
            return Refused(key, why, bool(data.get("transient")))
        case {"say": "ended", "key": str(key)}:
            return JobEnded(key, str(data.get("why", "")))
        case {"say": "note", "text": str(text)}:
            return Note(text)
        case _:
            raise BadLineError(f"no answer: {line[:200]!r}")


def _object(line: bytes) -> dict[str, Any]:
    try:
        data = json.loads(line)
    except ValueError as error:
        raise BadLineError(f"no JSON: {line[:200]!r}") from error
    if not isinstance(data, dict):
        raise BadLineError(f"no object: {line[:200]!r}")
    return data


class Lines:
    """Puts whole lines together from what a socket gives."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that are whole now, in order; BadLineError for one that has no end."""
        self._rest += data
        *whole, rest = bytes(self._rest).split(b"\n")
        self._rest = bytearray(rest)
        if len(rest) > LINE_LIMIT_BYTES:
            raise BadLineError(f"a line of more than {LINE_LIMIT_BYTES} bytes")
        return whole

"""The messages between a supervisor and an agent: JSON lines.

::

    supervisor   {"do": "place", "key": "…", "run_dir": "…", "attempt": 1, "resources": {"slot": 1}}
                 {"do": "cancel", "key": "…", "claimed": false}   claimed: its worker is running
    agent        {"say": "ready"}                                 it has reached the engine
                 {"say": "placed", "key": "…", "job": "…"}        job: the engine's name for it
                 {"say": "refused", "key": "…", "reason": "…", "transient": true}
                 {"say": "ended", "key": "…", "reason": "…"}      the engine no longer has it
                 {"say": "note", "text": "…"}                     for the operator

A key is RUN_ID.ATTEMPT. What an agent reports about a run is never trusted: it is a reason to read
the run's claim.
"""

import json
from collections.abc import Mapping
from dataclasses import field
from typing import Any, ClassVar, Final

from workers.records.atomic import to_line
from workers.records.dataclass import dataclass

LINE_LIMIT_BYTES: Final = 1_048_576  # a path, a few resources, an engine's message


class BadLineError(Exception):
    """A line that is no message; its text contains the line."""


class _Message:
    """A message: its kind, and a key for each attribute."""

    __slots__: tuple[str, ...] = ()
    _kind: ClassVar[tuple[str, str]]

    def to_line(self) -> bytes:
        """The message as it is sent."""
        key, kind = self._kind
        return to_line({key: kind, **{name: getattr(self, name) for name in self.__slots__}})


@dataclass(frozen=True, slots=True, kw_only=True)
class Place(_Message):
    """A request to place an attempt.

    Attributes:
        key: RUN_ID.ATTEMPT.
        run_dir: the run's directory, which has the same path on every host.
        attempt: number of the attempt, from 1.
        resources: what it takes of a host, by name; empty if it takes nothing.
    """

    _kind = ("do", "place")
    key: str
    run_dir: str
    attempt: int
    resources: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cancel(_Message):
    """A request to end an attempt, or never to start it; ``claimed``: its worker is running."""

    _kind = ("do", "cancel")
    key: str
    claimed: bool


Order = Place | Cancel


@dataclass(frozen=True, slots=True)
class AgentReady(_Message):
    """The agent has reached its engine."""

    _kind = ("say", "ready")


@dataclass(frozen=True, slots=True)
class Placed(_Message):
    """The engine has queued or started an attempt as ``job``."""

    _kind = ("say", "placed")
    key: str
    job: str


@dataclass(frozen=True, slots=True)
class Refused(_Message):
    """The engine has rejected an attempt; ``transient`` if another try may help."""

    _kind = ("say", "refused")
    key: str
    reason: str
    transient: bool


@dataclass(frozen=True, slots=True)
class JobEnded(_Message):
    """The engine has finished with an attempt, or does not know it any more."""

    _kind = ("say", "ended")
    key: str
    reason: str


@dataclass(frozen=True, slots=True)
class Note(_Message):
    """A message for the operator."""

    _kind = ("say", "note")
    text: str


Answer = AgentReady | Placed | Refused | JobEnded | Note


def parse_order(line: bytes) -> Order:
    """Read a supervisor's message; BadLineError if it is none."""
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
    """Read an agent's message; BadLineError if it is none."""
    data = _object(line)
    match data:
        case {"say": "ready"}:
            return AgentReady()
        case {"say": "placed", "key": str(key)}:
            return Placed(key, str(data.get("job", "")))
        case {"say": "refused", "key": str(key), "reason": str(reason)}:
            return Refused(key, reason, bool(data.get("transient")))
        case {"say": "ended", "key": str(key)}:
            return JobEnded(key, str(data.get("reason", "")))
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
    """Assembles whole lines from the parts that a socket delivers."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that are complete now, in order; BadLineError for one that is too long."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LINE_LIMIT_BYTES:
            raise BadLineError(f"a line of more than {LINE_LIMIT_BYTES} bytes")
        return lines

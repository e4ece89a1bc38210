r"""journal.ndjson: the facts of a run, in order. It is the truth; the manifest follows from it.

One JSON object per line, appended by the holder of the run's owner lock::

    {"seq": 4, "at": "2025-10-31T22:56:35.120Z", "mono_s": 81.402, "event": "stage_ended",
     "by": "worker", ...}

A line counts once its newline is there. Readers ignore a torn last line (its writer was killed);
the next writer first closes it with ``<torn>`` and a newline, so it is never joined to the next
fact and can never become a fact later. The first verdict is final; readers ignore what follows it.
"""

import os
from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from workers.records.atomic import TORN, replace_file, to_line, write_all
from workers.records.clock import Clock, utc_text
from workers.records.dataclass import dataclass
from workers.records.files import open_regular, parse_object, read_from
from workers.records.journal_schema import invalid_key
from workers.records.json_reader import JsonReader
from workers.records.limits import RECORD_LIMIT_BYTES
from workers.records.typed_errors import BadRecordError

FROM_HISTORY: Final = "from_history"
"""Key of a verdict that was restored from the history, because the run's records were older."""


class Event(StrEnum):
    """The kinds of facts."""

    RUN_ACCEPTED = "run_accepted"
    RUN_STARTED = "run_started"
    STAGE_WAITING = "stage_waiting"
    STAGE_STARTED = "stage_started"
    STAGE_ENDED = "stage_ended"
    STAGE_RETRIED = "stage_retried"
    STAGE_KEPT = "stage_kept"
    CHILD_STARTED = "child_started"
    CHILD_ENDED = "child_ended"
    WARNING = "warning"
    VERDICT = "verdict"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One line.

    Attributes:
        seq: its number in the file, from 1.
        at: when it was written, RFC 3339 UTC.
        mono_s: the same on the writer's monotonic clock, in seconds.
        event: its kind; one that this version does not know is kept as text.
        by: "supervisor" or "worker".
        data: the event's own keys.
    """

    seq: int
    at: str
    mono_s: float
    event: str
    by: str
    data: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    def to_line(self) -> bytes:
        """The line with its newline."""
        head = {"seq": self.seq, "at": self.at, "mono_s": self.mono_s}
        return to_line({**head, "event": self.event, "by": self.by, **self.data})


_HEAD: Final = ("seq", "at", "mono_s", "event", "by")


def parse_fact(line: bytes, path: str) -> Fact:
    """Read one line; raises BadRecordError if it is not a fact."""
    data = parse_object(line, path)
    read = JsonReader(data, path)
    key = invalid_key(read.text("event"), data)
    if key is not None:
        raise read.bad(key, "is not what this event holds")
    return Fact(
        seq=read.integer("seq"),
        at=read.text("at"),
        mono_s=read.number("mono_s"),
        event=read.text("event"),
        by=read.text("by"),
        data=MappingProxyType({k: v for k, v in data.items() if k not in _HEAD}),
    )


class JournalReader:
    """Reads a growing journal, each line once.

    Args:
        path: the journal.

    Attributes:
        bad_lines_count: whole lines that are not facts.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._offset = 0
        self.bad_lines_count = 0

    def read_new(self) -> list[Fact]:
        """The facts that were completed since the last call, in file order.

        Raises:
            FileNotFoundError: there is no journal.
            BadFileError: it is not a regular file.
        """
        fd = open_regular(self._path, os.O_RDONLY)
        try:
            data = read_from(fd, self._offset, RECORD_LIMIT_BYTES)
        finally:
            os.close(fd)
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        facts = []
        for line in whole.splitlines():
            if line.endswith(TORN.rstrip()):
                continue  # a crash, closed as intended: it never counted
            try:
                facts.append(parse_fact(line, self._path))
            except BadRecordError:
                self.bad_lines_count += 1
        return facts


def read_journal(path: str) -> list[Fact]:
    """All facts of a journal; raises as JournalReader.read_new."""
    return JournalReader(path).read_new()


def verdict_in(facts: list[Fact] | tuple[Fact, ...]) -> Fact | None:
    """The first verdict, which is the final one."""
    return next((fact for fact in facts if fact.event == Event.VERDICT), None)


class JournalWriter:
    """Appends facts. Only the holder of the run's owner lock may create one.

    Args:
        path: a journal that exists.
        by: "worker" or "supervisor".
        clock: source of instants.

    Attributes:
        slowest_s: the longest append so far, including its flush, in seconds.
    """

    def __init__(self, path: str, *, by: str, clock: Clock) -> None:
        self._path = path
        self._by = by
        self._clock = clock
        self._unflushed: Fact | None = None
        self._fd = open_regular(path, os.O_RDWR | os.O_APPEND)
        self._seq = _close_torn_line(self._fd, path)
        self._torn = False
        self.slowest_s = 0.0

    def append(
        self, event: Event, data: Mapping[str, Any], *, flush: bool = True, at: str | None = None
    ) -> Fact:
        """Append a fact.

        Args:
            event: its kind.
            data: its own keys.
            flush: False for a fact that a power failure may lose, because nothing acts on it.
            at: when it happened, if not now; RFC 3339 UTC.

        Raises:
            OSError: it could not be written. A torn line may be left, which readers ignore and the
                next append closes. Appending the same fact again is safe and never duplicates it.
        """
        began = self._clock.mono_s()
        fact = self._unflushed
        if fact is None or (fact.event, dict(fact.data)) != (event, dict(data)):
            fact = self._write(event, data, began, at)
        if flush or self._unflushed is fact:
            self._flush(fact)
        self.slowest_s = max(self.slowest_s, self._clock.mono_s() - began)
        return fact

    def _write(self, event: Event, data: Mapping[str, Any], mono_s: float, at: str | None) -> Fact:
        fact = Fact(
            seq=self._seq + 1,
            at=at or utc_text(self._clock.epoch_s()),
            mono_s=round(mono_s, 3),
            event=event,
            by=self._by,
            data=MappingProxyType(dict(data)),
        )
        line = TORN + fact.to_line() if self._torn else fact.to_line()
        self._torn = True
        write_all(self._fd, line)
        self._torn = False
        self._seq += 1
        return fact

    def _flush(self, fact: Fact) -> None:
        """Flush; after a failure replace the journal instead of flushing the descriptor again."""
        try:
            if self._unflushed is None:
                self._unflushed = fact
                os.fdatasync(self._fd)
                self._unflushed = None
                return
        except OSError:
            pass  # the kernel may have dropped the pages, and would report the next flush a success
        replace_file(self._path, read_from(self._fd, 0, RECORD_LIMIT_BYTES))
        fd = open_regular(self._path, os.O_RDWR | os.O_APPEND)
        os.close(self._fd)
        self._fd = fd
        self._unflushed = None

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


def _close_torn_line(fd: int, path: str) -> int:
    """Close the line that a killed writer left unfinished; returns the last sequence number."""
    data = read_from(fd, 0, RECORD_LIMIT_BYTES)
    if data and not data.endswith(b"\n"):
        write_all(fd, TORN)
    for line in reversed(data[: data.rfind(b"\n") + 1].splitlines()):
        try:
            return parse_fact(line, path).seq
        except BadRecordError:
            continue
    return 0

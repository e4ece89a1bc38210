"""Following a run: its output as it comes, and its end.

A stage's log keeps the head and the newest end of the output, with a line between them that counts
what was dropped. The follower reads that line to know where in the whole stream the end begins, so
it prints each byte once and says where bytes are missing.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from workers.cuts import SEQUENCE_LIMIT_BYTES
from workers.records.errors import TypedError
from workers.records.files import open_regular, read_from
from workers.records.journal import Event, Fact, JournalReader
from workers.records.layout import Layout, RunDir
from workers.records.limits import READ_BUFFER_BYTES

_GAP: Final = re.compile(rb"\n?\[supervisor: (\d+) bytes dropped\]\n")

_READS_COUNT: Final = 3  # head, gap, end: enough for a finished log, and bounded for a flood


@dataclass(frozen=True, slots=True)
class Piece:
    """Some output: of which stage and stream, and how many bytes are missing before it."""

    stage: str
    stream: str
    data: bytes
    missing_bytes: int = 0


class LogFollower:
    """Reads one growing log, each byte of the stream once.

    Args:
        path: the log.
        stage: the stage's id.
        stream: "stdout" or "stderr".
        head_bytes: how much of the stream the log keeps from its beginning.
    """

    def __init__(self, path: str, stage: str, stream: str, head_bytes: int) -> None:
        self._path = path
        self._stage = stage
        self._stream = stream
        self._head_bytes = head_bytes
        self._seen = 0

    def read_new(self) -> Piece | None:
        """What came since the last call, None where nothing did."""
        try:
            fd = open_regular(self._path, os.O_RDONLY)
        except (OSError, TypedError):
            return None
        try:
            data = read_from(fd, 0, 4 * READ_BUFFER_BYTES)
        finally:
            os.close(fd)
        gap = self._gap(data)
        if gap is None:
            return self._piece(data[self._seen :], 0)
        begin = gap.start() + int(gap[1])
        tail = data[gap.end() :]
        if self._seen < gap.start():
            head = data[self._seen : gap.start()]
            self._seen += len(head)
            return Piece(self._stage, self._stream, head)
        if begin >= self._seen:
            missing = begin - self._seen
            self._seen = begin
            return self._piece(tail, missing)
        return self._piece(tail[self._seen - begin :], 0)

    def _gap(self, data: bytes) -> re.Match[bytes] | None:
        """Where bytes are missing: the head may be cut a little short of its size."""
        least = self._head_bytes - SEQUENCE_LIMIT_BYTES - 4
        found = [m for m in _GAP.finditer(data) if least <= m.start() <= self._head_bytes]
        return found[-1] if found else None

    def _piece(self, data: bytes, missing: int) -> Piece | None:
        self._seen += len(data)
        if not data and not missing:
            return None
        return Piece(self._stage, self._stream, data, missing)


class RunFollower:
    """Follows a run's stages, in order.

    Args:
        layout: the root.
        task_id: the run's task.
        run_id: the run.
        head_bytes: how much of a stream a log keeps from its beginning.
        stage: only this stage's output; None for all.
    """

    def __init__(
        self,
        layout: Layout,
        task_id: str,
        run_id: str,
        *,
        head_bytes: int,
        stage: str | None = None,
    ) -> None:
        self._run: RunDir = layout.run_dir(task_id, run_id)
        self._journal = JournalReader(self._run.journal)
        self._head_bytes = head_bytes
        self._only = stage
        self._open: list[LogFollower] = []
        self.verdict: Fact | None = None

    def read_new(self) -> Iterator[Piece]:
        """The output that came since the last call, stage by stage."""
        try:
            facts = self._journal.read_new()
        except (OSError, TypedError):
            facts = []
        for fact in facts:
            if fact.event == Event.STAGE_STARTED:
                yield from self._drain()
                self._begin(fact)
            elif fact.event in (Event.STAGE_ENDED, Event.STAGE_RETRIED):
                yield from self._drain()
            elif fact.event == Event.VERDICT and self.verdict is None:
                self.verdict = fact
        yield from self._drain()

    def _begin(self, fact: Fact) -> None:
        stage, index = str(fact.data.get("stage")), int(fact.data.get("index") or 0)
        self._open = []
        if self._only not in (None, stage):
            return
        self._open = [
            LogFollower(self._run.stage_log(index, stage, stream), stage, stream, self._head_bytes)
            for stream in ("stdout", "stderr")
        ]

    def _drain(self) -> Iterator[Piece]:
        for follower in self._open:
            for _ in range(_READS_COUNT):
                piece = follower.read_new()
                if piece is None:
                    break
                yield piece

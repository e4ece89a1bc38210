"""Follow a run's output while it runs, up to its end.

A stage's log keeps the beginning and the end of its output, and between them a line that counts the
dropped bytes. The follower needs that count to know the place of the end in the whole output, so
that it returns each byte once and reports missing ones. Only a line with the random key of its try,
which is in the journal, counts; everything else in a log is foreign text. Old logs have no key:
there the line's form and place decide.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from supervisor.report.read.journal_follower import JournalFollower
from workers.output.truncate import SEQUENCE_LIMIT_BYTES
from workers.records.dataclass import dataclass
from workers.records.files import open_regular, read_from
from workers.records.journal import Event, Fact
from workers.records.layout import Layout
from workers.records.typed_errors import TypedError

_GAP: Final = rb"\n?\[supervisor: ([0-9]{1,19}) bytes dropped%b\]\n"
_READ_LIMIT_BYTES: Final = 262_144  # a log has 65,536 unless its limit was raised
_READS_COUNT: Final = 3  # head, gap, end: enough for a finished log, and bounded for a fast writer


@dataclass(frozen=True, slots=True)
class OutputChunk:
    """Output of a stage's stream, and the number of bytes that are missing before it."""

    stage: str
    stream: str
    data: bytes
    missing_bytes: int = 0


class LogFollower:
    """Reads a growing log, each byte of the stream once.

    Args:
        path: the log.
        earlier_path: its name once the stage is tried again; ``path`` is the next try's then.
        stage: the stage's id.
        stream: "stdout" or "stderr".
        head_bytes: how much of the beginning of a stream the log keeps.
        mark_key: the key of the line that replaces dropped bytes; None in old records.
    """

    def __init__(
        self,
        path: str,
        earlier_path: str,
        stage: str,
        stream: str,
        head_bytes: int,
        mark_key: str | None = None,
    ) -> None:
        self._path = path
        self._earlier_path = earlier_path
        self._stage = stage
        self.stream = stream
        self._head_bytes = head_bytes
        key = f" #{mark_key}" if mark_key else ""
        self._mark = re.compile(_GAP % re.escape(key.encode()))
        self._read_bytes = 0
        self._version = (0, 0, 0)

    @property
    def has_read(self) -> bool:
        """Some output was read."""
        return self._read_bytes > 0

    def retire(self) -> None:
        """The try has ended and another follows: ``path`` is the next try's from now on."""
        self._path = self._earlier_path

    def read_new(self, *, ended: bool) -> OutputChunk | None:
        """The output since the last call; None if there is none.

        Args:
            ended: read even if the file's status has not changed: a log that drops bytes is
                rewritten in place, and file times are coarse.
        """
        if not ended and not self._has_changed():
            return None
        data = self._data()
        gap = self._gap(data)
        if gap is None:
            return self._chunk(data[self._read_bytes :], 0)
        if self._read_bytes < gap.start():
            return self._chunk(data[self._read_bytes : gap.start()], 0)
        tail_begin, tail = gap.start() + int(gap[1]), data[gap.end() :]
        if tail_begin < self._read_bytes:
            return self._chunk(tail[self._read_bytes - tail_begin :], 0)
        missing_bytes = tail_begin - self._read_bytes
        self._read_bytes = tail_begin
        return self._chunk(tail, missing_bytes)

    def _has_changed(self) -> bool:
        try:
            status = os.stat(self._path, follow_symlinks=False)
        except OSError:
            return False
        version = (status.st_ino, status.st_size, status.st_mtime_ns)
        changed, self._version = version != self._version, version
        return changed

    def _data(self) -> bytes:
        for path in dict.fromkeys((self._earlier_path, self._path)):
            try:
                fd = open_regular(path, os.O_RDONLY)
            except (OSError, TypedError):
                continue
            try:
                return read_from(fd, 0, _READ_LIMIT_BYTES)
            finally:
                os.close(fd)
        return b""

    def _gap(self, data: bytes) -> re.Match[bytes] | None:
        """The line that replaces dropped bytes; the head may be a little shorter than its limit."""
        least = self._head_bytes - SEQUENCE_LIMIT_BYTES - 4
        gaps = [m for m in self._mark.finditer(data) if least <= m.start() <= self._head_bytes]
        return gaps[-1] if gaps else None

    def _chunk(self, data: bytes, missing_bytes: int) -> OutputChunk | None:
        self._read_bytes += len(data)
        if not data and not missing_bytes:
            return None
        return OutputChunk(self._stage, self.stream, data, missing_bytes)


class RunFollower:
    """Follows the output of a run's stages, or of one stage; child runs in their stage's place.

    ``head_bytes`` is how much of the beginning of a stream a log keeps, for old records.
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
        self._layout = layout
        self._task_id = task_id
        self._run = layout.run_dir(task_id, run_id)
        self._journal = JournalFollower(self._run.journal)
        self._head_bytes = head_bytes
        self._only_stage = stage
        self._open: dict[str, tuple[LogFollower, ...]] = {}  # by stage
        self._children: dict[str, RunFollower] = {}  # by stage

    @property
    def verdict(self) -> Fact | None:
        """The run's verdict, once it was read."""
        return self._journal.verdict

    @property
    def is_gone(self) -> bool:
        """The run's directory was deleted."""
        return self._journal.has_begun and not os.path.isdir(self._run.path)

    def read_new(self) -> Iterator[OutputChunk]:
        """The output since the last call, stage by stage."""
        for fact in self._journal.read_new():
            stage = str(fact.data.get("stage"))
            if self._only_stage not in (None, stage):
                continue
            match fact.event:
                case Event.STAGE_STARTED:
                    self._open[stage] = self._logs_of(fact, stage)
                case Event.STAGE_RETRIED:
                    for follower in self._open.get(stage, ()):
                        follower.retire()
                    yield from self._drain(stage, ended=True)
                    yield from self._removed(fact, stage)
                case Event.STAGE_ENDED:
                    yield from self._drain(stage, ended=True)
                    self._open.pop(stage, None)
                case Event.CHILD_STARTED:
                    run_id = str(fact.data.get("sub_run_id"))
                    if run_id != self._run.run_id:  # else an edited record
                        self._children[stage] = RunFollower(
                            self._layout, self._task_id, run_id, head_bytes=self._head_bytes
                        )
                case Event.CHILD_ENDED:
                    yield from self._drain(stage, ended=True)
                    self._children.pop(stage, None)
                case _:
                    continue
        # A lost worker wrote no end of its stages: the verdict ends them.
        for stage in dict.fromkeys((*self._open, *self._children)):
            yield from self._drain(stage, ended=self.verdict is not None)

    def _removed(self, fact: Fact, stage: str) -> Iterator[OutputChunk]:
        """The missing bytes of a try whose logs were removed in favour of later tries."""
        for follower in self._open.get(stage, ()):
            counts = fact.data.get(follower.stream)
            seen = counts.get("seen_bytes") if isinstance(counts, dict) else None
            if isinstance(seen, int) and seen and not follower.has_read:
                yield OutputChunk(stage, follower.stream, b"", missing_bytes=seen)

    def _logs_of(self, fact: Fact, stage: str) -> tuple[LogFollower, ...]:
        index, number = int(fact.data.get("index") or 0), fact.data.get("try")
        limit_bytes = fact.data.get("log_limit_bytes")
        return tuple(
            LogFollower(
                self._run.stage_log(index, stage, stream),
                self._run.stage_log(
                    index, stage, stream, earlier_try=number if isinstance(number, int) else 1
                ),
                stage,
                stream,
                limit_bytes // 2 if isinstance(limit_bytes, int) else self._head_bytes,
                fact.data.get("mark_key"),
            )
            for stream in ("stdout", "stderr")
        )

    def _drain(self, stage: str, *, ended: bool) -> Iterator[OutputChunk]:
        for follower in self._open.get(stage, ()):
            for number in range(_READS_COUNT):
                chunk = follower.read_new(ended=ended or number > 0)
                if chunk is None:
                    break
                yield chunk
        if stage in self._children:
            for chunk in self._children[stage].read_new():
                yield replace(chunk, stage=f"{stage}/{chunk.stage}")

"""Following a run: its output as it comes, and its end.

A stage's log keeps the head and the newest end of the output, with a line between them that counts
what was dropped. The follower needs that count to know where in the whole stream the end begins, so
it prints each byte once and says where bytes are missing. Only a line with the random key of its
try, which is in the journal, is ours; everything else in a log is foreign text. Old logs have no
key: of those the form and the place of the line decide.
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
from workers.records.layout import Layout, RunDir
from workers.records.typed_errors import TypedError

_GAP: Final = rb"\n?\[supervisor: ([0-9]{1,19}) bytes dropped%b\]\n"
_WHOLE_BYTES: Final = 262_144  # at a look; a log is 65,536 unless its limit was raised
_READS_COUNT: Final = 3  # head, gap, end: enough for a finished log, and bounded for a flood


@dataclass(frozen=True, slots=True)
class OutputChunk:
    """Some output: of which stage and stream, and how many bytes are missing before it."""

    stage: str
    stream: str
    data: bytes
    missing_bytes: int = 0


class LogFollower:
    """Reads one growing log, each byte of the stream once.

    Args:
        path: the log.
        kept: the name that the log gets when its try is made again; from then on ``path`` is that
            of the next try.
        stage: the stage's id.
        stream: "stdout" or "stderr".
        head_bytes: how much of the stream the log keeps from its beginning.
        mark_key: in the line that stands for dropped bytes; None in old records.
    """

    def __init__(
        self,
        path: str,
        kept: str,
        stage: str,
        stream: str,
        head_bytes: int,
        mark_key: str | None = None,
    ) -> None:
        self._path = path
        self._kept = kept
        self._stage = stage
        self._stream = stream
        self._head_bytes = head_bytes
        key = f" #{mark_key}" if mark_key else ""
        self._mark = re.compile(_GAP % re.escape(key.encode()))
        self._seen = 0
        self._was = (0, 0, 0)

    @property
    def stream(self) -> str:
        """Which stream it is."""
        return self._stream

    @property
    def has_read(self) -> bool:
        """Some output was read."""
        return self._seen > 0

    def retire(self) -> None:
        """The try is over and another comes: ``path`` is no longer ours."""
        self._path = self._kept

    def read_new(self, *, ended: bool) -> OutputChunk | None:
        """What came since the last call, None where nothing did.

        Args:
            ended: look also where the file seems not to have changed: a flood is brought up to
                date in place, and the clock of files is coarse.
        """
        if not ended and not self._has_changed():
            return None
        data = self._data()
        gap = self._gap(data)
        if gap is None:
            return self._piece(data[self._seen :], 0)
        begin = gap.start() + int(gap[1])
        tail = data[gap.end() :]
        if self._seen < gap.start():
            head = data[self._seen : gap.start()]
            self._seen += len(head)
            return OutputChunk(self._stage, self._stream, head)
        if begin >= self._seen:
            missing = begin - self._seen
            self._seen = begin
            return self._piece(tail, missing)
        return self._piece(tail[self._seen - begin :], 0)

    def _has_changed(self) -> bool:
        try:
            found = os.stat(self._path, follow_symlinks=False)
        except OSError:
            return False
        now = (found.st_ino, found.st_size, found.st_mtime_ns)
        changed, self._was = now != self._was, now
        return changed

    def _data(self) -> bytes:
        for path in dict.fromkeys((self._kept, self._path)):
            try:
                fd = open_regular(path, os.O_RDONLY)
            except (OSError, TypedError):
                continue
            try:
                return read_from(fd, 0, _WHOLE_BYTES)
            finally:
                os.close(fd)
        return b""

    def _gap(self, data: bytes) -> re.Match[bytes] | None:
        """Where bytes are missing: the head may be cut a little short of its size."""
        least = self._head_bytes - SEQUENCE_LIMIT_BYTES - 4
        found = [m for m in self._mark.finditer(data) if least <= m.start() <= self._head_bytes]
        return found[-1] if found else None

    def _piece(self, data: bytes, missing: int) -> OutputChunk | None:
        self._seen += len(data)
        if not data and not missing:
            return None
        return OutputChunk(self._stage, self._stream, data, missing)


class RunFollower:
    """Follows a run's stages, in order, and in their place the runs of its sub-pipelines.

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
        self._layout = layout
        self._task_id = task_id
        self._run: RunDir = layout.run_dir(task_id, run_id)
        self._journal = JournalFollower(self._run.journal)
        self._head_bytes = head_bytes
        self._only = stage
        self._open: dict[str, tuple[LogFollower, ...]] = {}  # by stage: some run side by side
        self._children: dict[str, RunFollower] = {}

    @property
    def verdict(self) -> Fact | None:
        """The run's verdict, once it was seen."""
        return self._journal.verdict

    @property
    def is_gone(self) -> bool:
        """The run had a directory and has none any more."""
        return self._journal.has_begun and not os.path.isdir(self._run.path)

    def read_new(self) -> Iterator[OutputChunk]:
        """The output that came since the last call, stage by stage."""
        for fact in self._journal.read_new():
            stage = str(fact.data.get("stage"))
            if self._only not in (None, stage):
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
                    self._follow_child(fact, stage)
                case Event.CHILD_ENDED:
                    yield from self._drain(stage, ended=True)
                    self._children.pop(stage, None)
                case _:
                    continue
        # A worker that was lost told no end of its stage: the verdict is the end.
        for stage in dict.fromkeys((*self._open, *self._children)):
            yield from self._drain(stage, ended=self.verdict is not None)

    def _removed(self, fact: Fact, stage: str) -> Iterator[OutputChunk]:
        """What is missing of a try whose logs were removed for those of later tries."""
        for follower in self._open.get(stage, ()):
            counts = fact.data.get(follower.stream)
            seen = counts.get("seen_bytes") if isinstance(counts, dict) else None
            if isinstance(seen, int) and seen and not follower.has_read:
                yield OutputChunk(stage, follower.stream, b"", missing_bytes=seen)

    def _logs_of(self, fact: Fact, stage: str) -> tuple[LogFollower, ...]:
        index, number = int(fact.data.get("index") or 0), fact.data.get("try")
        earlier = number if isinstance(number, int) else 1
        key, limit_bytes = fact.data.get("mark_key"), fact.data.get("log_limit_bytes")
        head_bytes = limit_bytes // 2 if isinstance(limit_bytes, int) else self._head_bytes
        return tuple(
            LogFollower(
                self._run.stage_log(index, stage, stream),
                self._run.stage_log(index, stage, stream, earlier_try=earlier),
                stage,
                stream,
                head_bytes,
                key,
            )
            for stream in ("stdout", "stderr")
        )

    def _follow_child(self, fact: Fact, stage: str) -> None:
        """The output of a sub-pipeline is that of its run."""
        run_id = str(fact.data.get("sub_run_id"))
        if run_id != self._run.run_id:  # else an edited record
            self._children[stage] = RunFollower(
                self._layout, self._task_id, run_id, head_bytes=self._head_bytes
            )

    def _drain(self, stage: str, *, ended: bool) -> Iterator[OutputChunk]:
        for follower in self._open.get(stage, ()):
            looks = ended
            for _ in range(_READS_COUNT):
                piece = follower.read_new(ended=looks)
                if piece is None:
                    break
                yield piece
                looks = True  # the same look goes on: head, gap, end
        if stage in self._children:
            for piece in self._children[stage].read_new():
                yield replace(piece, stage=f"{stage}/{piece.stage}")

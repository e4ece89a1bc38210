"""One task's history and state on disk.

The history is appended first and is the truth; ``state.json`` and ``metrics.json`` are folds of it,
rewritten under the task's lock. Both contain how many bytes of the history they cover, so an update
reads only the rest, and many runs share one rewrite.
"""

import json
import os
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from supervisor.core.policy.task_metrics import LockCounts, Totals, measure, percentiles
from supervisor.errors import TaskStateStoreLockError
from supervisor.store.state_lock import state_lock
from workers.records.atomic import WriteCost, replace_file, to_bytes, to_line, write_all
from workers.records.files import make_private, open_regular, read_from, read_object, sync_dir
from workers.records.history import last_lines, read_lines
from workers.records.json_text import to_json
from workers.records.layout import Layout
from workers.records.limits import Limits
from workers.records.request import now_text
from workers.records.typed_errors import TypedError

_CHUNK_BYTES: Final = 65_536


class TaskStateStore:
    """Writes one task's history, state and metrics. Only the supervisor creates one.

    Args:
        layout: the root.
        task_id: the task.
        history_limit: how many runs the state shows.
        limits: those in force, for the guardrails.

    Attributes:
        is_stale: the state on disk differs from the history; the next rewrite corrects it.
    """

    def __init__(self, layout: Layout, task_id: str, *, history_limit: int, limits: Limits) -> None:
        self._layout = layout
        self._limits = limits
        self.task_id = task_id
        self._newest: deque[dict[str, Any]] = deque(maxlen=history_limit)
        self._texts: deque[str] = deque(maxlen=history_limit)  # the same as JSON
        self._totals = Totals()
        self._lock = LockCounts()
        # How much of the history the totals cover, and how much the newest lines do: they differ
        # if a supervisor died between writing metrics and state.
        self._counted_bytes = 0
        self._shown_bytes = 0
        self._written_runs = 0
        self._failed_at: int | None = None
        self._is_named = False
        self.is_stale = not self._load()

    def append(self, lines: list[dict[str, Any]]) -> WriteCost:
        """Append finished runs to the history, with one flush for all of them.

        Raises:
            OSError: none is recorded; what was written is cut off now, or before the next append.
            BadFileError: it is not a regular file.
        """
        path = self._layout.history(self.task_id)
        make_private(os.path.dirname(path))
        fd = open_regular(path, os.O_RDWR | os.O_APPEND | os.O_CREAT)
        try:
            self._cut_off_failed(fd)
            size = _drop_torn_tail(fd)
            if not self._is_named:  # before the append: a failure after it would append twice
                sync_dir(os.path.dirname(path))
                self._is_named = True
            began = time.monotonic()
            data = b"".join(to_line(line) for line in lines)
            self._failed_at = size
            try:
                write_all(fd, data)
                os.fdatasync(fd)
                self._failed_at = None
            finally:
                self._cut_off_failed(fd)
        finally:
            os.close(fd)
        return WriteCost(time.monotonic() - began, len(data))

    def _cut_off_failed(self, fd: int) -> None:
        """Cut off complete lines of a failed append, which will be repeated."""
        if self._failed_at is not None:
            os.ftruncate(fd, self._failed_at)
            self._failed_at = None

    def write_snapshot(self) -> WriteCost:
        """Try the task's lock once and bring state and metrics up to the history.

        Returns:
            The cost of writing the state.

        Raises:
            TaskStateStoreLockError: another process holds the lock; nothing was written.
            OSError: the disk refused; the old state is unchanged.
        """
        self._lock = replace(self._lock, attempts_count=self._lock.attempts_count + 1)
        make_private(self._layout.task_dir(self.task_id), self._layout.out_dir(self.task_id))
        path = self._layout.state_lock(self.task_id)
        with state_lock(path) as held:
            if held is not None:
                self._catch_up()
                state = self._state()
            if held is None or not held():
                contended = self._lock.contended_count + 1
                self._lock = replace(self._lock, contended_count=contended)
                raise TaskStateStoreLockError(
                    task_id=self.task_id, lock_path=path, attempts=1, waited_s=0.0
                )
            receipt = replace_file(self._layout.state(self.task_id), state)
            self.is_stale = False
            self._written_runs = self._totals.runs
            self._write_metrics()
        return receipt

    def owe(self) -> None:
        """Count a snapshot whose bounded attempts are used up, in the metrics."""
        self._lock = replace(self._lock, owed_count=self._lock.owed_count + 1)
        self._catch_up()
        self._write_metrics()

    def pay(self) -> None:
        """Count an owed snapshot that was written, in the metrics."""
        self._lock = replace(self._lock, paid_count=self._lock.paid_count + 1)
        self._write_metrics()

    def _state(self) -> bytes:
        """The state, one run per line; the JSON text of each run is created once."""
        head = {
            "taskId": self.task_id,
            "lastRunAt": self._newest[-1].get("timestamp") if self._newest else None,
            "totals": _counts(self._totals),
            "historyBytes": self._shown_bytes,
        }
        runs = ",\n    ".join(self._texts)
        open_head = json.dumps(head, indent=2).removesuffix("\n}")
        return f'{open_head},\n  "runs": [\n    {runs}\n  ]\n}}\n'.encode()

    def _append_line(self, line: dict[str, Any]) -> None:
        self._newest.append(line)
        self._texts.append(to_json(line, json.dumps))

    def _write_metrics(self) -> None:
        missed = self._totals.runs - self._written_runs
        durations = [
            line["durationSeconds"]
            for line in self._newest
            if isinstance(line.get("durationSeconds"), int | float)
        ]
        rows = measure(self._totals, self._lock, missed_count=missed, limits=self._limits)
        record = {
            "schema": "pipeline-supervisor/metrics/1",
            "task_id": self.task_id,
            "updated_at": now_text(),
            "history_bytes": self._counted_bytes,
            "totals": self._totals.to_json(),
            "duration_s": percentiles(durations),
            "lock": self._lock.to_json(),
            "guardrails": [row.to_json() for row in rows],
        }
        replace_file(self._layout.metrics(self.task_id), to_bytes(record))

    def _catch_up(self) -> None:
        path = self._layout.history(self.task_id)
        for offset, line in read_lines(path, min(self._shown_bytes, self._counted_bytes)):
            if offset > self._shown_bytes:
                self._append_line(line)
                self._shown_bytes = offset
            if offset > self._counted_bytes:
                self._totals = self._totals.add(line)
                self._counted_bytes = offset

    def _load(self) -> bool:
        """Continue from what the files on disk cover, or from the start if one is damaged.

        Returns:
            True if they agree and cover all of the history.
        """
        state = _read(self._layout.state(self.task_id))
        metrics = _read(self._layout.metrics(self.task_id))
        self._lock = _lock_counts(metrics.get("lock"))
        stored, shown_totals = metrics.get("totals"), state.get("totals")
        totals = Totals.from_json(stored) if isinstance(stored, dict) else None
        counted, shown = metrics.get("history_bytes"), state.get("historyBytes")
        runs = state.get("runs")
        written = shown_totals.get("runs") if isinstance(shown_totals, dict) else None
        history = self._layout.history(self.task_id)
        size = os.path.getsize(history) if os.path.exists(history) else 0
        if (
            totals is None
            or not isinstance(runs, list)
            or not isinstance(written, int)
            or not (isinstance(counted, int) and 0 <= counted <= size)
            or not (isinstance(shown, int) and 0 <= shown <= size)
        ):
            return size == 0
        lines_count = len(runs)
        if counted == shown:
            if shown_totals != _counts(totals):
                return False
            lines_count = max(lines_count, min(totals.runs, self._newest.maxlen or 0))
        if runs != last_lines(history, lines_count, shown):
            return False
        self._totals, self._counted_bytes, self._shown_bytes = totals, counted, shown
        self._written_runs = written
        for line in runs:
            self._append_line(line)
        return counted == shown == size


def _counts(totals: Totals) -> dict[str, int]:
    """The totals that the state shows."""
    return {key: getattr(totals, key) for key in ("runs", "succeeded", "failed", "cancelled")}


def _drop_torn_tail(fd: int) -> int:
    """Cut off an incomplete last line of a killed writer; returns the file's size."""
    size = end = os.fstat(fd).st_size
    while end > 0:
        begin = max(0, end - _CHUNK_BYTES)
        at = read_from(fd, begin, end - begin).rfind(b"\n")
        if at >= 0:
            end = begin + at + 1
            break
        end = begin
    if end < size:
        os.ftruncate(fd, end)
    return end


def _read(path: str) -> dict[str, Any]:
    try:
        return read_object(path)
    except (OSError, TypedError):
        return {}  # a view: it is folded from the history again


def _lock_counts(data: object) -> LockCounts:
    if not isinstance(data, Mapping):
        return LockCounts()
    names = ("attempts_count", "contended_count", "owed_count", "paid_count")
    return LockCounts(**{n: data[n] for n in names if isinstance(data.get(n), int)})

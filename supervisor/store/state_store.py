"""One task's history and state on disk.

The history is appended first and is the truth; ``state.json`` and ``metrics.json`` are folds of it,
rewritten under the task's lock. Both say how many bytes of the history they cover, so that catching
up reads the tail and not the file, and many runs share one rewrite.
"""

import json
import os
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from supervisor.core.policy.guardrails import measure
from supervisor.core.policy.task_metrics import LockCounts, Totals, percentiles
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
    """Writes one task's history, state and metrics. Only the supervisor makes one.

    Args:
        layout: the root.
        task_id: the task.
        history_limit: how many runs the state shows.
        limits: the limits in force, for the guardrails.

    Attributes:
        is_stale: the state on disk is not what the history says; a rewrite puts it right.
    """

    def __init__(self, layout: Layout, task_id: str, *, history_limit: int, limits: Limits) -> None:
        self._layout = layout
        self._limits = limits
        self.task_id = task_id
        self._newest: deque[dict[str, Any]] = deque(maxlen=history_limit)
        self._texts: deque[str] = deque(maxlen=history_limit)  # the same, written once
        self._totals = Totals()
        self._lock = LockCounts()
        # How much of the history is in the totals, and how much in the newest lines: a supervisor
        # that died between writing the two views leaves one of them behind the other.
        self._counted_bytes = 0
        self._shown_bytes = 0
        self._written_runs = 0
        self._failed_at: int | None = None
        self._is_named = False
        self.is_stale = not self._load()

    def append(self, lines: list[dict[str, Any]]) -> WriteCost:
        """Append finished runs to the history, with one flush for all of them.

        Raises:
            OSError: none of them is recorded, and the file is as long as before, or will be
                before anything else is appended.
            BadFileError: it is no regular file.
        """
        path = self._layout.history(self.task_id)
        make_private(os.path.dirname(path))
        fd = open_regular(path, os.O_RDWR | os.O_APPEND | os.O_CREAT)
        try:
            self._cut_off_failed(fd)
            size = _drop_torn_tail(fd)
            if not self._is_named:  # before anything counts: behind it, a refusal would double it
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
        """Whole lines of a group that failed must not count; it is appended anew."""
        if self._failed_at is not None:
            os.ftruncate(fd, self._failed_at)
            self._failed_at = None

    def write_snapshot(self) -> WriteCost:
        """Try the task's lock once and bring state and metrics up to the history.

        Returns:
            What writing the state cost.

        Raises:
            TaskStateStoreLockError: another process holds the lock; nothing was written.
            OSError: the disk refused; the old state stands.
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
        """Note that the bounded tries are used up, and show it in the metrics."""
        self._lock = replace(self._lock, owed_count=self._lock.owed_count + 1)
        self._catch_up()
        self._write_metrics()

    def pay(self) -> None:
        """Note that an owed snapshot was written."""
        self._lock = replace(self._lock, paid_count=self._lock.paid_count + 1)
        self._write_metrics()

    def _state(self) -> bytes:
        """The state, one run per line; a run's text is made once and not at every rewrite."""
        head = {
            "taskId": self.task_id,
            "lastRunAt": self._newest[-1].get("timestamp") if self._newest else None,
            "totals": _counts(self._totals),
            "historyBytes": self._shown_bytes,
        }
        runs = ",\n    ".join(self._texts)
        open_head = json.dumps(head, indent=2).removesuffix("\n}")
        return f'{open_head},\n  "runs": [\n    {runs}\n  ]\n}}\n'.encode()

    def _keep(self, line: dict[str, Any]) -> None:
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
                self._keep(line)
                self._shown_bytes = offset
            if offset > self._counted_bytes:
                self._totals = self._totals.add(line)
                self._counted_bytes = offset

    def _load(self) -> bool:
        """Go on from what the files on disk cover; from the history's start where one is bad.

        Returns:
            True where they agree, and cover all of the history.
        """
        state, metrics = (
            _read(self._layout.state(self.task_id)),
            _read(self._layout.metrics(self.task_id)),
        )
        self._lock = _lock_counts(metrics.get("lock"))
        kept, told = metrics.get("totals"), state.get("totals")
        totals = Totals.from_json(kept) if isinstance(kept, dict) else None
        counted, shown = metrics.get("history_bytes"), state.get("historyBytes")
        runs, written = state.get("runs"), told.get("runs") if isinstance(told, dict) else None
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
        agree = counted == shown
        if agree and state.get("totals") != _counts(totals):
            return False
        enough = self._shown(totals) if agree else 0
        if runs != last_lines(history, max(len(runs), enough), shown):
            return False
        self._totals, self._counted_bytes, self._shown_bytes = totals, counted, shown
        self._written_runs = written
        for line in runs:
            self._keep(line)
        return counted == shown == size

    def _shown(self, totals: Totals) -> int:
        """How many runs the state must show."""
        return min(totals.runs, self._newest.maxlen or 0)


def _counts(totals: Totals) -> dict[str, int]:
    """What the state shows of the totals."""
    return {key: getattr(totals, key) for key in ("runs", "succeeded", "failed", "cancelled")}


def _drop_torn_tail(fd: int) -> int:
    """Cut off what a killed writer left without its newline: it never counted.

    Returns:
        The size of the file, which ends with a whole line now.
    """
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
        return {}  # it is a view: the history tells it anew


def _lock_counts(data: object) -> LockCounts:
    if not isinstance(data, Mapping):
        return LockCounts()
    names = ("attempts_count", "contended_count", "owed_count", "paid_count")
    return LockCounts(**{n: data[n] for n in names if isinstance(data.get(n), int)})

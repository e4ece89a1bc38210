"""Metrics of a root for monitoring, read from its records. Reads only.

Finished runs are counted from the histories, active ones from status.json. There are at most
LABELS_LIMIT_COUNT pairs of task and pipeline; runs of later pairs are counted as "other", so that
a script that invents task names cannot flood the monitoring system.
"""

import contextlib
import os
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import field
from typing import Any, Final

from supervisor.core.fleet import Mode
from supervisor.core.lifecycle import TABLE, Queued
from supervisor.core.policy.liveness import Liveness
from supervisor.report.read.run_records import pending_specs
from supervisor.report.read.run_rows import service_status
from supervisor.store.lease_reader import read_lease, serving_supervisor
from supervisor.store.root_listing import tasks
from supervisor.version import VERSION
from workers.records.clock import epoch_of
from workers.records.dataclass import dataclass
from workers.records.files import read_object
from workers.records.history import STATUSES, read_lines
from workers.records.layout import Layout
from workers.records.typed_errors import TypedError

LABELS_LIMIT_COUNT: Final = 500  # times twenty series: easy for a small Prometheus
BUCKETS_S: Final = (1, 5, 15, 60, 300, 900, 3600, 14_400)  # from a lint to a nightly batch
OTHER: Final = ("other", "other")
MODES: Final = tuple(map(str, Mode))
LIVENESS: Final = tuple(map(str, Liveness))
STATES: Final = tuple(state.__name__.lower() for state in TABLE if state is not Queued)

Label = tuple[str, str]  # task and pipeline


@dataclass(slots=True)
class FinishedRuns:
    """The finished runs of one task and pipeline.

    Attributes:
        counts: runs by status.
        buckets: runs that took at most the seconds of each of BUCKETS_S.
        timed_count, sum_s: runs with a duration, and the sum of their durations.
        last_status, last_epoch_s: status and end of the newest run.
    """

    counts: Counter[str] = field(default_factory=Counter)
    buckets: list[int] = field(default_factory=lambda: [0] * len(BUCKETS_S))
    timed_count: int = 0
    sum_s: float = 0.0
    last_status: str = ""
    last_epoch_s: float = 0.0

    def add(self, line: Mapping[str, Any]) -> None:
        """Count one line of a history."""
        status, seconds = str(line.get("status")), line.get("durationSeconds")
        if status not in STATUSES:
            return
        self.counts[status] += 1
        if isinstance(seconds, int | float) and not isinstance(seconds, bool):
            self.timed_count += 1
            self.sum_s += seconds
            for place, bound in enumerate(BUCKETS_S):
                self.buckets[place] += seconds <= bound
        ended = _epoch(line.get("timestamp"))
        if ended >= self.last_epoch_s:
            self.last_status, self.last_epoch_s = status, ended


@dataclass(frozen=True, slots=True, kw_only=True)
class RootMetrics:
    """The metrics of a root at one instant.

    Attributes:
        up: a supervisor serves the root.
        started_epoch_s: when it started, in seconds since 1970.
        service: its status.json; empty if there is no supervisor.
        waiting_count: runs in the inbox.
        finished: by task and pipeline.
        tasks: metrics.json of each task, of at most LABELS_LIMIT_COUNT tasks.
    """

    up: bool
    started_epoch_s: float | None
    service: Mapping[str, Any]
    waiting_count: int
    finished: Mapping[Label, FinishedRuns]
    tasks: Mapping[str, Mapping[str, Any]]

    @property
    def queued_count(self) -> int:
        """Queued runs, those in the inbox included."""
        count = self.service.get("queued_count")
        return self.waiting_count + (count if isinstance(count, int) else 0)

    def active(self, key: str, values: tuple[str, ...]) -> dict[str, int]:
        """The number of active runs per value of a key: "state" or "liveness"."""
        runs = self.service.get("runs")
        counts = Counter(str(run.get(key)) for run in runs or () if isinstance(run, dict))
        return {value: counts[value] for value in values}

    def to_json(self) -> dict[str, Any]:
        """As ``metrics --json`` prints it."""
        began = self.started_epoch_s
        return {
            "version": VERSION,
            "up": self.up,
            "uptime_s": None if began is None else round(max(0.0, time.time() - began), 3),
            "mode": self.service.get("mode"),
            "max_runs": self.service.get("max_runs"),
            "queued_count": self.queued_count,
            "groups": self.service.get("groups") or {},
            "active": self.active("state", STATES),
            "liveness": self.active("liveness", LIVENESS),
            "finished": [
                {
                    "task_id": task,
                    "pipeline_id": pipeline,
                    **{status: item.counts[status] for status in STATUSES},
                    "duration_sum_s": round(item.sum_s, 3),
                    "duration_count": item.timed_count,
                    "at_most_s": dict(zip(map(str, BUCKETS_S), item.buckets, strict=True)),
                    "last_status": item.last_status,
                }
                for (task, pipeline), item in self.finished.items()
            ],
            "tasks": dict(self.tasks),
        }


class RootMetricsReader:
    """Reads metrics; each call reads only the new lines of the histories."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._offsets: dict[str, int] = {}
        self._finished: dict[Label, FinishedRuns] = {}

    def read(self, *, up: bool = True) -> RootMetrics:
        """Read the metrics; records that cannot be read are left out, ``verify`` reports them.

        Args:
            up: False to report the supervisor as stopped, on its own shutdown.
        """
        known = tasks(self._layout)
        self._read_histories(known)
        holder = serving_supervisor(self._layout) if up else None
        service = service_status(self._layout) if holder is not None else {}
        metrics = {}
        for task_id in known[:LABELS_LIMIT_COUNT]:
            with contextlib.suppress(OSError, TypedError):
                metrics[task_id] = read_object(self._layout.metrics(task_id))
        began = _epoch(read_lease(self._layout).get("since")) if holder is not None else 0.0
        return RootMetrics(
            up=holder is not None,
            started_epoch_s=began or None,
            service=service,
            waiting_count=sum(1 for _ in pending_specs(self._layout)),
            finished=self._finished,
            tasks=metrics,
        )

    def _read_histories(self, known: list[str]) -> None:
        for task_id in known:
            path, offset = self._layout.history(task_id), self._offsets.get(task_id, 0)
            with contextlib.suppress(OSError, TypedError):
                if os.path.getsize(path) < offset:  # it was replaced
                    continue
                for end, line in read_lines(path, offset):
                    self._add(task_id, line)
                    self._offsets[task_id] = end

    def _add(self, task_id: str, line: dict[str, Any]) -> None:
        label = (task_id, str(line.get("pipelineId")))
        if label not in self._finished and len(self._finished) >= LABELS_LIMIT_COUNT:
            label = OTHER
        self._finished.setdefault(label, FinishedRuns()).add(line)


def _epoch(text: object) -> float:
    """An instant in seconds since 1970; 0 for anything else."""
    with contextlib.suppress(ValueError):
        return epoch_of(text) if isinstance(text, str) else 0.0
    return 0.0

"""status.json: the supervisor's view of its fleet, for readers. It can be lost: it is rebuilt."""

import contextlib
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from supervisor.core.admission import live_counts
from supervisor.core.fleet import Fleet
from supervisor.core.lifecycle import Run
from supervisor.core.policy.liveness import Liveness
from supervisor.daemon.context import DaemonContext
from supervisor.daemon.run_handle import RunHandle
from supervisor.launchers.spawner import LaunchedWorker
from supervisor.report.read.run_rows import Row
from workers.records.atomic import replace_file, to_bytes
from workers.records.dataclass import dataclass
from workers.records.journal import Event
from workers.records.json_text import indent_json, to_json
from workers.records.request import now_text
from workers.records.typed_errors import TypedError

# How to_bytes ends a record whose last value is a list: each run is serialised on its own, once.
_NO_RUNS: Final = b"[]\n}\n"
_BEGIN: Final = b"[\n    "
_BETWEEN: Final = ",\n    "
_END: Final = b"\n  ]\n}\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown:
    """One run as it was last written, and the values that its text was made from."""

    run: Run
    worker: LaunchedWorker | None
    facts_count: int
    row: Row
    text: str


class StatusFile:
    """Writes status.json when its content has changed.

    An unchanged run costs a comparison; an unchanged fleet costs nothing.
    """

    def __init__(self, context: DaemonContext) -> None:
        self._context = context
        self._last: dict[str, Any] | None = None
        self._shown: dict[str, _Shown] = {}
        self._active: Mapping[str, Run] = {}
        self._counts: Counter[str | None] = Counter()
        self._news_count = 0

    def write(self, fleet: Fleet) -> None:
        """Write the view if it changed; a refusal of the disk is ignored."""
        changed = self._update(fleet)
        head = self._head(fleet)
        if not changed and head == self._last:
            return
        self._last = head
        shown = self._shown.values()
        if changed:
            rows = (one.row for one in shown if one.row.status == "in_progress")
            self._context.reporter.update_rows(rows)
        record = {"schema": "pipeline-supervisor/status/1", "updated_at": now_text(), **head}
        data = to_bytes({**record, "runs": []})
        if shown:
            runs = (_BETWEEN.join(one.text for one in shown)).encode()
            data = data.removesuffix(_NO_RUNS) + _BEGIN + runs + _END
        with contextlib.suppress(OSError, TypedError):
            replace_file(self._context.layout.status, data, flush=False)

    def _update(self, fleet: Fleet) -> bool:
        """Update the text of each run; return whether any has changed."""
        if fleet.active is self._active and self._context.news_count == self._news_count:
            return False
        self._active, self._news_count = fleet.active, self._context.news_count
        self._counts = live_counts(fleet)
        changed = False
        runs, before = self._context.runs, self._shown
        for run_id, run in fleet.active.items():
            known, handle = before.get(run_id), runs[run_id]
            if (
                known is None
                or known.run is not run
                or known.worker is not handle.worker
                or known.facts_count != len(handle.reader.facts)
            ):
                before[run_id] = shown = self._show(run, handle)
                changed = changed or known is None or known.text != shown.text
        if len(before) != len(fleet.active):
            self._shown = {run_id: before[run_id] for run_id in fleet.active}
            changed = True
        return changed

    def _show(self, run: Run, handle: RunHandle) -> _Shown:
        row = self._row(run, handle)
        facts = {
            "run_id": run.run_id,
            "task_id": run.task_id,
            "state": type(run.state).__name__.lower(),
            "liveness": str(run.liveness),
            "pid": row.pid,
            "pipeline_id": row.pipeline_id,
            "started_at": row.started_at,
            "stages_count": row.stages_count,
            "stages_ended_count": row.stages_ended_count,
            "running": list(row.running),
            "host": row.host,
            "placed": handle.launcher.queue_name(handle) if row.started_at is None else None,
        }
        return _Shown(
            run=run,
            worker=handle.worker,
            facts_count=len(handle.reader.facts),
            row=row,
            text=to_json(facts, lambda value: indent_json(value, "\n    ")),
        )

    def _head(self, fleet: Fleet) -> dict[str, Any]:
        """The fields of the whole fleet."""
        counts = self._counts
        queued = Counter[str | None]()
        for lane, places in fleet.lanes.items():
            queued[lane.group] += len(places)
        groups = {
            name: {
                "limit": fleet.groups.get(name),
                "running": counts[name],
                "queued": queued[name],
            }
            for name in sorted({*fleet.groups, *(g for g in (*counts, *queued) if g is not None)})
        }
        return {
            "supervisor": self._context.identity.to_json(),
            "mode": str(fleet.mode),
            "watch": self._context.watcher.check(),
            "durability": self._context.durability,
            "max_runs": fleet.max_runs,
            "running_count": counts.total(),
            "queued_count": len(fleet.queued),
            "paused": fleet.pauses.to_json(),
            "groups": groups,
        }

    def _row(self, run: Run, handle: RunHandle) -> Row:
        started_at: str | None = None
        has_ended: dict[str, bool] = {}  # by stage
        for fact in handle.reader.facts:
            if fact.event == Event.RUN_STARTED:
                started_at = fact.at
            elif fact.event in (Event.STAGE_STARTED, Event.STAGE_ENDED, Event.STAGE_KEPT):
                has_ended[str(fact.data.get("stage"))] = fact.event != Event.STAGE_STARTED
        return Row(
            run_id=run.run_id,
            task_id=run.task_id,
            pipeline_id=handle.spec.pipeline.id,
            status="queued" if started_at is None else "in_progress",
            note=None if run.liveness == Liveness.FRESH else str(run.liveness),
            started_at=started_at,
            duration_s=None,
            pid=None if handle.worker is None else handle.worker.pid,
            stages_count=len(handle.spec.pipeline.stages),
            stages_ended_count=sum(has_ended.values()),
            running=tuple(stage for stage, ended in has_ended.items() if not ended),
            host=run.host or (None if started_at is None else self._context.identity.host),
        )

"""status.json: the supervisor's view of its fleet, for readers. A view: lost without loss."""

import contextlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from supervisor.core.admission import live_counts
from supervisor.core.fleet import Fleet
from supervisor.core.lifecycle import Run
from supervisor.core.liveness import Liveness
from supervisor.engine.parts import Parts
from supervisor.report.records import Row
from workers.records.atomic import replace_file, to_bytes
from workers.records.errors import TypedError
from workers.records.journal import Event, Fact
from workers.records.request import now_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Far:
    """How far a run is.

    Attributes:
        facts_count: how many facts tell it.
        started_at: when its worker began; None while it waits.
        ended_count: stages that have ended.
        running: the ids of those at work.
    """

    facts_count: int
    started_at: str | None
    ended_count: int
    running: tuple[str, ...]


class View:
    """Writes status.json when the fleet looks different from what was written last.

    Args:
        parts: the effects and the books.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._last: dict[str, Any] | None = None
        self._far: dict[str, Far] = {}

    def write(self, fleet: Fleet) -> None:
        """Write the view if it changed; a disk that refuses costs only the view."""
        self._far = {run_id: self._look(run_id) for run_id in fleet.active}
        rows = [self._row(run) for run in fleet.active.values()]
        self._parts.reporter.looked(row for row in rows if row.status == "in_progress")
        runs = [
            {
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
            }
            for run, row in zip(fleet.active.values(), rows, strict=True)
        ]
        counts = live_counts(fleet)
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
        facts = {
            "supervisor": self._parts.mine.to_json(),
            "mode": str(fleet.mode),
            "watch": self._parts.watcher.check(),
            "durability": self._parts.durability,
            "max_runs": fleet.max_runs,
            "queued_count": len(fleet.queued),
            "paused": fleet.holds.to_json(),
            "groups": groups,
            "runs": runs,
        }
        if facts == self._last:
            return
        self._last = facts
        record = {"schema": "pipeline-supervisor/status/1", "updated_at": now_text(), **facts}
        with contextlib.suppress(OSError, TypedError):
            replace_file(self._parts.layout.status, to_bytes(record), flush=False)

    def _look(self, run_id: str) -> "Far":
        """How far a run is; folded anew only where its journal has grown."""
        reader = self._parts.readers[run_id]
        known = self._far.get(run_id)
        return known if known and known.facts_count == len(reader.facts) else far(reader.facts)

    def _row(self, run: Run) -> Row:
        spec, found = self._parts.readers[run.run_id].spec, self._far[run.run_id]
        worker = self._parts.workers.get(run.run_id)
        return Row(
            run_id=run.run_id,
            task_id=run.task_id,
            pipeline_id=spec.pipeline.id,
            status="queued" if found.started_at is None else "in_progress",
            note=None if run.liveness == Liveness.FRESH else str(run.liveness),
            started_at=found.started_at,
            duration_s=None,
            pid=None if worker is None else worker.pid,
            stages_count=len(spec.pipeline.stages),
            stages_ended_count=found.ended_count,
            running=found.running,
        )


def far(facts: Sequence[Fact]) -> Far:
    """How far the facts of a journal have come."""
    started_at: str | None = None
    stages: dict[str, bool] = {}  # True: ended
    for fact in facts:
        if fact.event == Event.RUN_STARTED:
            started_at = fact.at
        elif fact.event == Event.STAGE_STARTED:
            stages[str(fact.data.get("stage"))] = False
        elif fact.event in (Event.STAGE_ENDED, Event.STAGE_KEPT):
            stages[str(fact.data.get("stage"))] = True
    return Far(
        facts_count=len(facts),
        started_at=started_at,
        ended_count=sum(stages.values()),
        running=tuple(stage for stage, ended in stages.items() if not ended),
    )

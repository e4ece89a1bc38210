"""status.json: the supervisor's view of its fleet, for readers. A view: lost without loss."""

import contextlib
from collections import Counter
from typing import Any

from supervisor.core.admission import live_counts
from supervisor.core.fleet import Fleet
from supervisor.engine.parts import Parts
from workers.records.atomic import replace_file, to_bytes
from workers.records.errors import TypedError
from workers.records.request import now_text


class View:
    """Writes status.json when the fleet looks different from what was written last.

    Args:
        parts: the effects and the books.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._last: dict[str, Any] | None = None

    def write(self, fleet: Fleet) -> None:
        """Write the view if it changed; a disk that refuses costs only the view."""
        runs = [
            {
                "run_id": run.run_id,
                "task_id": run.task_id,
                "state": type(run.state).__name__.lower(),
                "liveness": str(run.liveness),
                "pid": worker.pid if (worker := self._parts.workers.get(run.run_id)) else None,
            }
            for run in fleet.active.values()
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

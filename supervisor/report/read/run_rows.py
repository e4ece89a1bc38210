"""Lists of runs, and everything else that ``status --json`` prints.

``status`` is called often, mostly while nothing is running. It then imports next to nothing: what
reads the records of runs is imported only if a run is active.
"""

import contextlib
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from supervisor.report.text.output import print_error
from supervisor.store.lease_reader import serving_supervisor
from supervisor.store.root_listing import active_ids, rejected, tasks, waits
from workers.records.clock import epoch_of
from workers.records.dataclass import dataclass
from workers.records.files import read_object
from workers.records.flock import is_flocked
from workers.records.history import last_lines
from workers.records.json_reader import JsonReader
from workers.records.layout import Layout
from workers.records.limits import PID_LIMIT
from workers.records.typed_errors import NewerRecordError, TypedError

UNKNOWN_SCHEMA: Final = "unknown_schema"
NEWEST_COUNT: Final = 20  # a screenful
_STATUS_TEXTS: Final = (
    "task_id",
    "pipeline_id",
    "state",
    "liveness",
    "started_at",
    "host",
    "placed",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One run in a list.

    Attributes:
        status: the manifest's status; UNKNOWN_SCHEMA for a run of a later version, "unreadable"
            if its records cannot be read.
        note: the status_detail, else the liveness of a worker that is not fresh, else what a
            queued run waits for.
        started_at: when its worker began; None if it had none.
        duration_s: from then to its verdict, or up to now; None if unknown.
        stages_count: stages of its pipeline; None if unknown.
        stages_ended_count: how many of them have ended.
        running: the ids of the running stages.
        host: its worker's host; None if it had no worker, or if an old record does not say.
    """

    run_id: str
    task_id: str
    pipeline_id: str
    status: str
    note: str | None = None
    started_at: str | None = None
    duration_s: float | None = None
    pid: int | None = None
    stages_count: int | None = None
    stages_ended_count: int | None = None
    running: tuple[str, ...] = ()
    host: str | None = None

    @property
    def remark(self) -> str:
        """The note, and for a running run its progress: ``late, 2/3 package``."""
        if self.status != "in_progress" or self.stages_count is None:
            return self.note or ""
        number = min((self.stages_ended_count or 0) + 1, self.stages_count)
        progress = f"{number}/{self.stages_count} {' '.join(self.running)}".rstrip()
        return f"{self.note}, {progress}" if self.note else progress

    def to_json(self) -> dict[str, Any]:
        """As ``status --json`` prints it."""
        return {name: getattr(self, name) for name in self.__slots__}


def service_status(layout: Layout) -> dict[str, Any]:
    """The content of status.json; empty if it is missing or damaged."""
    try:
        data = read_object(layout.status)
        check_status(JsonReader(data, layout.status))
    except (OSError, TypedError):
        return {}
    return data


def check_status(read: JsonReader) -> None:
    """Check the content of status.json; BadRecordError if a value has another type."""
    for key in ("mode", "watch", "durability", "updated_at"):
        read.text_or_none(key)
    for key in ("max_runs", "queued_count"):
        read.integer_or_none(key)
    groups = read.child_or_none("groups")
    if groups is not None:
        for group in map(groups.child, groups.names()):
            for key in ("limit", "running", "queued"):
                group.integer_or_none(key)
    for run in read.children("runs"):
        run.text("run_id")
        for key in _STATUS_TEXTS:
            run.text_or_none(key)
        if run.integer_or("pid", 1) > PID_LIMIT:
            raise run.bad("pid", "is no process id")


def status_by_run(layout: Layout) -> dict[str, dict[str, Any]]:
    """The runs of status.json by run id; empty if no supervisor serves the root."""
    if not is_flocked(layout.lease_lock):
        return {}
    runs = service_status(layout).get("runs")
    if isinstance(runs, list):
        return {str(r.get("run_id")): r for r in runs if isinstance(r, dict)}
    return {}


def history_row(data: dict[str, Any]) -> Row:
    """The row of a line of the history; BadRecordError if it is not such a line."""
    line = JsonReader(data, "history.ndjson")
    counts = line.counts("stages")
    host = line.text_or_none("host")
    has_begun = host is not None or "host" not in data  # old lines have no host
    return Row(
        run_id=line.text("runId"),
        task_id=line.text("taskId"),
        pipeline_id=line.text("pipelineId"),
        status=line.text("status"),
        note=line.text_or_none("statusDetail"),
        started_at=line.text_or_none("startedAt") if has_begun else None,
        duration_s=line.number_or_none("durationSeconds"),
        stages_count=sum(counts.values()) if counts else None,
        stages_ended_count=sum(counts.values()) - counts.get("pending", 0) if counts else None,
        host=host,
    )


def worker_started_at(manifest: Mapping[str, Any]) -> str | None:
    """When a run's worker began; None if it had none (``started_at`` is its acceptance then)."""
    extensions = manifest.get("extensions") or {}
    if extensions.get("worker") is None and extensions.get("attempt") is None:
        return None
    started_at = manifest.get("started_at")
    return started_at if isinstance(started_at, str) else None


def worker_host(manifest: Mapping[str, Any]) -> str | None:
    """The host of a run's worker; None if it had none."""
    worker = (manifest.get("extensions") or {}).get("worker")
    host = worker.get("host") if isinstance(worker, dict) else None
    return host if isinstance(host, str) else None


def manifest_row(
    manifest: dict[str, Any], *, note: str | None = None, pid: int | None = None
) -> Row:
    """The row of a manifest, with the pid of its worker; a status_detail replaces the note."""
    extensions = manifest.get("extensions") or {}
    duration_s = extensions.get("duration_s")
    started_at = worker_started_at(manifest)
    if duration_s is None and manifest["status"] == "in_progress" and started_at is not None:
        with contextlib.suppress(ValueError):  # damaged
            duration_s = max(0.0, time.time() - epoch_of(started_at))
    after = extensions.get("after")
    if manifest["status"] == "queued" and isinstance(after, list) and after:
        note = note or f"after {', '.join(str(run_id)[-8:] for run_id in after)}"
    stages = manifest["commands"]
    return Row(
        run_id=manifest["run_id"],
        task_id=manifest["task_id"],
        pipeline_id=manifest["pipeline_id"],
        status=manifest["status"],
        note=manifest["status_detail"] or note,
        started_at=started_at,
        duration_s=duration_s,
        pid=pid,
        stages_count=len(stages),
        stages_ended_count=sum(1 for s in stages if s["status"] not in ("pending", "running")),
        running=tuple(s["id"] for s in stages if s["status"] == "running"),
        host=worker_host(manifest),
    )


def placed_note(launcher: str) -> str:
    """The note of a run that an engine has accepted and no worker has claimed."""
    return f"placed, waiting for {launcher}"


def live_row(
    layout: Layout, task_id: str, run_id: str, by_run: Mapping[str, Mapping[str, Any]]
) -> Row:
    """The row of a run as it is now; ``by_run`` is what ``status_by_run`` returned.

    Raises:
        BadRecordError, BadFileError, OSError: its records cannot be read.
    """
    from supervisor.report.read.run_records import manifest_now

    live = by_run.get(run_id, {})
    liveness = live.get("liveness")
    try:
        row = manifest_row(
            manifest_now(layout, task_id, run_id),
            note=None if liveness == "fresh" else liveness,
            pid=live.get("pid"),
        )
    except NewerRecordError:
        note = "written by a newer version"
        return Row(
            run_id=run_id, task_id=task_id, pipeline_id="-", status=UNKNOWN_SCHEMA, note=note
        )
    if row.status == "queued" and isinstance(live.get("placed"), str):
        return replace(row, note=placed_note(live["placed"]))
    return row


def active_rows(layout: Layout) -> list[Row]:
    """Every submitted run without a recorded verdict, oldest first, then those in the inbox."""
    from supervisor.report.read.run_records import fold_journal, pending_specs

    by_run = status_by_run(layout)
    rows = []
    for run_id, task_id in active_ids(layout).items():
        try:
            rows.append(live_row(layout, task_id, run_id, by_run))
        except (OSError, TypedError) as error:
            unreadable = Row(
                run_id=run_id, task_id=task_id, pipeline_id="unknown", status="unreadable"
            )
            rows.append(replace(unreadable, note=str(error)))
    return rows + [manifest_row(fold_journal(layout, spec)) for spec in pending_specs(layout)]


def newest_task_rows(layout: Layout, task_id: str, count: int) -> list[Row]:
    """The newest runs of a task, active ones included, oldest first; errors as ``last_lines``."""
    active = [row for row in active_rows(layout) if row.task_id == task_id]
    known = {row.run_id for row in active}
    finished = _history_rows(last_lines(layout.history(task_id), count))
    return [*(row for row in finished if row.run_id not in known), *active][-count:]


def recent_rows(layout: Layout) -> tuple[list[Row], list[str]]:
    """The NEWEST_COUNT newest finished runs and all active ones, oldest first.

    Returns:
        The rows, and an error for each history that cannot be read.
    """
    active = active_rows(layout) if waits(layout) or active_ids(layout) else []
    known = {row.run_id for row in active}
    lines: list[dict[str, Any]] = []
    errors = []
    for task_id in tasks(layout):
        try:
            lines += last_lines(layout.history(task_id), NEWEST_COUNT)
        except (OSError, TypedError) as error:
            errors.append(str(error))
    lines.sort(key=lambda line: (str(line.get("timestamp")), str(line.get("runId"))))
    finished = _history_rows(lines[-NEWEST_COUNT:])
    return [*(row for row in finished if row.run_id not in known), *active], errors


def _history_rows(lines: Iterable[dict[str, Any]]) -> list[Row]:
    rows = []
    for line in lines:
        with contextlib.suppress(TypedError):  # 'verify' reports it
            rows.append(history_row(line))
    return rows


def pauses_json(layout: Layout) -> dict[str, Any]:
    """What is paused; if that cannot be read, a message says so on stderr."""
    if waits(layout) or os.path.lexists(layout.paused):
        from supervisor.report.read.run_records import current_pauses
        from supervisor.store.pause_file import damage_note, pauses_in_force

        try:
            pauses = current_pauses(layout)
            _, damage = pauses_in_force(layout)
            if damage is not None and pauses.since is not None:
                print_error(damage_note(damage))
            return pauses.to_json()
        except (OSError, TypedError) as error:
            print_error(f"cannot read what is paused: {error}")
    return {"since": None, "groups": {}}


def status_json(layout: Layout, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """What ``status --json`` prints about a root and these runs."""
    holder = serving_supervisor(layout)
    service = service_status(layout) if holder is not None else {}
    return {
        "root": layout.root,
        "supervisor": None if holder is None else holder.to_json(),
        "mode": service.get("mode"),
        "watch": service.get("watch"),
        "durability": service.get("durability"),
        "paused": pauses_json(layout),
        "groups": service.get("groups"),
        "rejected": rejected(layout),
        "runs": runs,
    }

"""Reading runs for a report. Nothing here repairs, locks or writes anything."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from workers.records.clock import epoch_of
from workers.records.errors import BadRecordError, NewerRecordError, TypedError
from workers.records.fields import Fields
from workers.records.files import read_marker, read_object
from workers.records.heartbeat import last_beat
from workers.records.history import newest_lines
from workers.records.ids import is_run_id, why_bad
from workers.records.journal import Fact, read_journal
from workers.records.known import check_manifest
from workers.records.layout import Layout
from workers.records.manifest import FINAL, Observed, fold_manifest
from workers.records.request import now_text, pending_requests
from workers.records.spec import RunSpec, load_spec

UNKNOWN_SCHEMA: Final = "unknown_schema"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One run in a list.

    Attributes:
        status: of the manifest's words; UNKNOWN_SCHEMA for a run of a later version, "unreadable"
            where its records cannot be read.
        note: the status_detail, else the supervisor's word for a worker that is not fresh, else
            what a queued run follows.
        stages_count: of its pipeline; None where that is not known.
        stages_ended_count: those of them that have ended.
        running: the ids of the stages that are at work.
    """

    run_id: str
    task_id: str
    pipeline_id: str
    status: str
    note: str | None
    started_at: str | None
    duration_s: float | None
    pid: int | None = None
    stages_count: int | None = None
    stages_ended_count: int | None = None
    running: tuple[str, ...] = ()

    @property
    def remark(self) -> str:
        """The note, and for a run at work how far it is: ``late, 2/3 package``."""
        if self.status != "in_progress" or self.stages_count is None:
            return self.note or ""
        at = min((self.stages_ended_count or 0) + 1, self.stages_count)
        far = f"{at}/{self.stages_count} {' '.join(self.running)}".rstrip()
        return f"{self.note}, {far}" if self.note else far

    def to_json(self) -> dict[str, Any]:
        """As ``status --json`` prints it."""
        return {name: getattr(self, name) for name in self.__slots__}


def tasks(layout: Layout) -> list[str]:
    """The tasks that have runs or a history."""
    found = set()
    for directory in (layout.runs, layout.out):
        with contextlib.suppress(OSError):
            found |= {n for n in os.listdir(directory) if why_bad(n) is None}
    return sorted(n for n in found if os.path.isdir(os.path.join(layout.runs, n)))


def active_ids(layout: Layout) -> dict[str, str]:
    """The accepted runs that are not yet in history and state: run id to task id."""
    found = {}
    with contextlib.suppress(OSError):
        for name in sorted(os.listdir(layout.accepted)):
            if is_run_id(name):
                with contextlib.suppress(OSError, TypedError):
                    found[name] = read_marker(layout.marker(name))
    return {run_id: task_id for run_id, task_id in found.items() if why_bad(task_id) is None}


def requested(layout: Layout) -> Iterator[RunSpec]:
    """The runs that were accepted into the inbox and have no directory yet."""
    for request in pending_requests(layout):
        for spec in request.runs:
            if not os.path.isdir(layout.run_dir(spec.task_id, spec.run_id).path):
                yield spec


def load_manifest(layout: Layout, task_id: str, run_id: str) -> dict[str, Any]:
    """A run's record as it is now.

    A final manifest is taken from the disk; of a run that is under way the journal tells more.

    Raises:
        NewerRecordError: it was written by a later version.
        BadRecordError, BadFileError: neither manifest nor spec can be read.
        OSError: the directory is not there, or may not be read.
    """
    run = layout.run_dir(task_id, run_id)
    on_disk: dict[str, Any] = {}
    try:
        on_disk = read_object(run.manifest)
        check_manifest(on_disk, run.manifest, task_id=task_id, run_id=run_id)
    except NewerRecordError:
        raise
    except (FileNotFoundError, TypedError):
        pass  # it is a view: the journal tells all of it
    else:
        if on_disk["status"] in FINAL:
            return on_disk
    spec = load_spec(run.spec)
    if (spec.task_id, spec.run_id) != (task_id, run_id):
        raise BadRecordError(path=run.spec, why=f"is of run {spec.run_id} of task {spec.task_id}")
    return fold_now(layout, spec, warnings_of(on_disk))


def manifest_now(layout: Layout, task_id: str, run_id: str) -> dict[str, Any]:
    """A run's record as it is now, also of one that is only asked for; errors as load_manifest."""
    try:
        return load_manifest(layout, task_id, run_id)
    except FileNotFoundError:
        for spec in requested(layout):
            if spec.run_id == run_id:
                return fold_now(layout, spec)
        return load_manifest(layout, task_id, run_id)  # taken up between the two looks


def warnings_of(manifest: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    """What an operator should know, as the manifest on disk says."""
    extensions = manifest.get("extensions")
    found = extensions.get("warnings") if isinstance(extensions, dict) else None
    return tuple(w for w in found if isinstance(w, dict)) if isinstance(found, list) else ()


def fold_now(
    layout: Layout, spec: RunSpec, warnings: tuple[dict[str, Any], ...] = ()
) -> dict[str, Any]:
    """Fold a run's journal into a manifest, without writing it."""
    run = layout.run_dir(spec.task_id, spec.run_id)
    facts: list[Fact] = []
    beat = None
    with contextlib.suppress(OSError, TypedError):
        facts = read_journal(run.journal)
        beat = last_beat(run.heartbeat)
    observed = Observed(updated_at=now_text(), heartbeat_at=beat)
    manifest = fold_manifest(spec, facts, layout=layout, observed=observed)
    known = manifest["extensions"]["warnings"]
    known += [warning for warning in warnings if warning not in known]
    return manifest


def row_now(layout: Layout, task_id: str, run_id: str, **about: Any) -> Row:  # noqa: ANN401
    """The list entry of a run as it is now; ``about`` and errors as row_of and load_manifest."""
    try:
        return row_of(manifest_now(layout, task_id, run_id), **about)
    except NewerRecordError:
        return Row(
            run_id=run_id,
            task_id=task_id,
            pipeline_id="-",
            status=UNKNOWN_SCHEMA,
            note="written by a newer version",
            started_at=None,
            duration_s=None,
        )


def row_of(manifest: dict[str, Any], *, note: str | None = None, pid: int | None = None) -> Row:
    """The list entry of a manifest."""
    extensions = manifest.get("extensions") or {}
    duration_s = extensions.get("duration_s")
    stages = manifest["commands"]
    if duration_s is None and manifest["status"] == "in_progress":
        with contextlib.suppress(ValueError):  # damaged, and no reason to show nothing
            duration_s = max(0.0, epoch_of(now_text()) - epoch_of(manifest["started_at"]))
    return Row(
        run_id=manifest["run_id"],
        task_id=manifest["task_id"],
        pipeline_id=manifest["pipeline_id"],
        status=manifest["status"],
        note=manifest["status_detail"] or note or _waits_for(manifest),
        started_at=manifest["started_at"],
        duration_s=duration_s,
        pid=pid,
        stages_count=len(stages),
        stages_ended_count=sum(1 for s in stages if s["status"] not in ("pending", "running")),
        running=tuple(s["id"] for s in stages if s["status"] == "running"),
    )


def _waits_for(manifest: dict[str, Any]) -> str | None:
    """What a queued run follows, by the last 8 digits; None where it follows nothing."""
    after = (manifest.get("extensions") or {}).get("after")
    if manifest["status"] != "queued" or not isinstance(after, list) or not after:
        return None
    return f"after {', '.join(str(run_id)[-8:] for run_id in after)}"


def active_rows(layout: Layout) -> list[Row]:
    """Every accepted run that is not yet on record, oldest first, queued requests included."""
    view = live_view(layout)
    rows = []
    for run_id, task_id in active_ids(layout).items():
        live = view.get(run_id, {})
        word = live.get("liveness")
        note = word if word not in (None, "fresh") else None
        try:
            rows.append(row_now(layout, task_id, run_id, note=note, pid=live.get("pid")))
        except (OSError, TypedError) as error:
            rows.append(_unreadable(run_id, task_id, error))
    rows += [row_of(fold_now(layout, spec)) for spec in requested(layout)]
    return rows


def _unreadable(run_id: str, task_id: str, error: Exception) -> Row:
    return Row(
        run_id=run_id,
        task_id=task_id,
        pipeline_id="unknown",
        status="unreadable",
        note=str(error),
        started_at=None,
        duration_s=None,
    )


def live_view(layout: Layout) -> dict[str, dict[str, Any]]:
    """What the supervisor last said of its live runs, by run id."""
    runs = live_service(layout).get("runs")
    if isinstance(runs, list):
        return {str(r.get("run_id")): r for r in runs if isinstance(r, dict)}
    return {}


def live_service(layout: Layout) -> dict[str, Any]:
    """The view that the supervisor last wrote, empty where there is none."""
    with contextlib.suppress(OSError, TypedError):
        return read_object(layout.status)
    return {}


def newest_rows(layout: Layout, count: int) -> tuple[list[Row], list[str]]:
    """The newest finished runs of all tasks, oldest first; and which histories cannot be read."""
    lines: list[dict[str, Any]] = []
    unread = []
    for task_id in tasks(layout):
        try:
            lines += newest_lines(layout.history(task_id), count)
        except (OSError, TypedError) as error:
            unread.append(str(error))
    lines.sort(key=lambda line: (str(line.get("timestamp")), str(line.get("runId"))))
    rows = []
    for line in lines[-count:]:
        with contextlib.suppress(TypedError):  # parses, but is no line of ours: verify tells
            rows.append(row_of_line(line))
    return rows, unread


def row_of_line(data: dict[str, Any]) -> Row:
    """The list entry of a line of the history; BadRecordError where it is no line of ours."""
    line = Fields(data, "history.ndjson")
    counts = line.counts("stages")
    return Row(
        run_id=line.text("runId"),
        task_id=line.text("taskId"),
        pipeline_id=line.text("pipelineId"),
        status=line.text("status"),
        note=line.text_or_none("statusDetail"),
        started_at=line.text_or_none("startedAt"),
        duration_s=line.number_or_none("durationSeconds"),
        stages_count=sum(counts.values()) if counts else None,
        stages_ended_count=sum(counts.values()) - counts.get("pending", 0) if counts else None,
    )

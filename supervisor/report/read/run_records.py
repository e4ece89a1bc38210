"""Reading runs for a report. Nothing here repairs, locks or writes anything."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from supervisor.report.read.run_rows import UNKNOWN_SCHEMA, Row, placed_note, status_by_run
from supervisor.store.root_listing import active_ids
from workers.records.clock import epoch_of
from workers.records.extensions import Observed
from workers.records.files import read_object
from workers.records.heartbeat import last_beat
from workers.records.journal import Fact, read_journal
from workers.records.layout import Layout
from workers.records.manifest import FINAL, fold_manifest
from workers.records.manifest_check import check_manifest
from workers.records.read_spec import load_spec
from workers.records.request import now_text, pending_requests
from workers.records.spec import RunSpec
from workers.records.typed_errors import BadRecordError, NewerRecordError, TypedError


def pending_specs(layout: Layout) -> Iterator[RunSpec]:
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
        raise BadRecordError(
            path=run.spec, reason=f"is of run {spec.run_id} of task {spec.task_id}"
        )
    return fold_journal(layout, spec, warnings_of(on_disk))


def manifest_now(layout: Layout, task_id: str, run_id: str) -> dict[str, Any]:
    """A run's record as it is now, also of one that is only asked for; errors as load_manifest."""
    try:
        return load_manifest(layout, task_id, run_id)
    except FileNotFoundError:
        for spec in pending_specs(layout):
            if spec.run_id == run_id:
                return fold_journal(layout, spec)
        return load_manifest(layout, task_id, run_id)  # taken up between the two looks


def warnings_of(manifest: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    """What an operator should know, as the manifest on disk says."""
    extensions = manifest.get("extensions")
    found = extensions.get("warnings") if isinstance(extensions, dict) else None
    return tuple(w for w in found if isinstance(w, dict)) if isinstance(found, list) else ()


def fold_journal(
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


def current_row(layout: Layout, task_id: str, run_id: str, **about: Any) -> Row:  # noqa: ANN401
    """The list entry of a run as it is now; ``about`` and errors as row_of and load_manifest."""
    try:
        return manifest_row(manifest_now(layout, task_id, run_id), **about)
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


def manifest_row(
    manifest: dict[str, Any], *, note: str | None = None, pid: int | None = None
) -> Row:
    """The list entry of a manifest."""
    extensions = manifest.get("extensions") or {}
    duration_s = extensions.get("duration_s")
    stages = manifest["commands"]
    started_at = worker_started_at(manifest)
    if duration_s is None and manifest["status"] == "in_progress" and started_at is not None:
        with contextlib.suppress(ValueError):  # damaged, and no reason to show nothing
            duration_s = max(0.0, epoch_of(now_text()) - epoch_of(started_at))
    return Row(
        run_id=manifest["run_id"],
        task_id=manifest["task_id"],
        pipeline_id=manifest["pipeline_id"],
        status=manifest["status"],
        note=manifest["status_detail"] or note or _waits_for(manifest),
        started_at=started_at,
        duration_s=duration_s,
        pid=pid,
        stages_count=len(stages),
        stages_ended_count=sum(1 for s in stages if s["status"] not in ("pending", "running")),
        running=tuple(s["id"] for s in stages if s["status"] == "running"),
        host=worker_host(manifest),
    )


def worker_started_at(manifest: Mapping[str, Any]) -> str | None:
    """When a run's worker began; None if it had none, and ``started_at`` is its acceptance."""
    extensions = manifest.get("extensions") or {}
    if extensions.get("worker") is None and extensions.get("attempt") is None:
        return None
    started_at = manifest.get("started_at")
    return started_at if isinstance(started_at, str) else None


def worker_host(manifest: Mapping[str, Any]) -> str | None:
    """The host that a run's worker is or was on; None where it had none."""
    worker = (manifest.get("extensions") or {}).get("worker")
    host = worker.get("host") if isinstance(worker, dict) else None
    return host if isinstance(host, str) else None


def _waits_for(manifest: dict[str, Any]) -> str | None:
    """What a queued run follows, by the last 8 digits; None where it follows nothing."""
    after = (manifest.get("extensions") or {}).get("after")
    if manifest["status"] != "queued" or not isinstance(after, list) or not after:
        return None
    return f"after {', '.join(str(run_id)[-8:] for run_id in after)}"


def live_row(
    layout: Layout, task_id: str, run_id: str, view: Mapping[str, Mapping[str, Any]]
) -> Row:
    """The list entry of a run as it is now, with what its supervisor last said of it.

    Args:
        layout: the root.
        task_id: its task.
        run_id: the run.
        view: what ``status_by_run`` returned.

    Raises:
        BadRecordError, BadFileError, OSError: as load_manifest.
    """
    live = view.get(run_id, {})
    word = live.get("liveness")
    row = current_row(
        layout,
        task_id,
        run_id,
        note=word if word not in (None, "fresh") else None,
        pid=live.get("pid"),
    )
    if row.status == "queued" and isinstance(live.get("placed"), str):
        return replace(row, note=placed_note(live["placed"]))
    return row


def active_rows(layout: Layout) -> list[Row]:
    """Every accepted run that is not yet on record, oldest first, queued requests included."""
    view = status_by_run(layout)
    rows = []
    for run_id, task_id in active_ids(layout).items():
        try:
            rows.append(live_row(layout, task_id, run_id, view))
        except (OSError, TypedError) as error:
            rows.append(_unreadable(run_id, task_id, error))
    rows += [manifest_row(fold_journal(layout, spec)) for spec in pending_specs(layout)]
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

"""What a start finds: every accepted run is taken up where it stands, whatever happened before.

The markers are walked, never the directories of finished runs. A run with a living worker is
adopted, one whose worker is gone is lost, one that never began is queued again, one with a verdict
is recorded, once. Doing all this again changes nothing.
"""

import os
from typing import Final

from supervisor.core import stimuli
from supervisor.core.stimuli import Stimulus
from supervisor.daemon import placements
from supervisor.daemon.context import DaemonContext
from supervisor.daemon.journal_events import facts, verdict
from supervisor.daemon.past_dependencies import accepted
from supervisor.daemon.process_table import living_pidfd
from supervisor.daemon.restore import give_verdict, restore_histories
from supervisor.launchers.placement_record import load_placement
from supervisor.launchers.spawner import LaunchedWorker
from supervisor.store.root_listing import tasks
from supervisor.store.root_record import (
    copied_from,
    load_root_record,
    root_record,
    store_root_record,
)
from supervisor.store.run_reader import RunReader
from supervisor.store.run_removal import sweep as sweep_removed
from workers.records.begun import has_begun
from workers.records.files import is_dir, make_private, read_marker, read_object
from workers.records.flock import is_flocked
from workers.records.identity import is_alive
from workers.records.ids import id_problem, is_run_id
from workers.records.layout import RunDir
from workers.records.manifest_check import check_manifest
from workers.records.read_spec import load_spec
from workers.records.request import now_text, pending_requests
from workers.records.spec import PipelineSpec, RunSpec
from workers.records.typed_errors import BadFileError, NewerRecordError, TypedError

UNSERVED: Final = "its worker ended without a verdict while no supervisor was up"
IN_ORIGINAL: Final = (
    "it was in progress in the root that this one was copied or restored from; its processes "
    "there, if any, were left alone"
)


def recover(parts: DaemonContext) -> list[Stimulus]:
    """Take up every accepted run.

    Returns:
        Stimuli in the order of acceptance; runs that an earlier version accepted come first, by
        their ids.
    """
    record, now = load_root_record(parts.layout), root_record(parts.layout)
    copied = copied_from(record, now)
    if copied is not None:
        parts.log.write("root_copied", original=copied.original, is_there=copied.is_there)
        parts.reporter.note(
            f"{parts.layout.root} is {copied.summary}: runs that were in progress there are "
            "recorded here as worker-lost and their processes are left alone; queued runs start "
            "here, too"
        )
    swept_count = parts.intake.sweep() + sweep_removed(parts.layout)
    if swept_count:
        parts.log.write("swept", files_count=swept_count)
    stimuli_of: dict[str, list[Stimulus]] = {}
    restore_histories(parts, every_task=record is None or copied is not None)
    asked = {spec.run_id for r in pending_requests(parts.layout) for spec in r.runs}
    names = sorted(os.listdir(parts.layout.accepted))
    accepted_ids = frozenset(filter(is_run_id, names))
    for name in names:
        if not is_run_id(name):
            parts.log.write("foreign_marker", name=name)
            continue
        try:
            task_id = _task_of(parts, name)
            if task_id is None or (
                name in asked and not is_dir(parts.layout.run_dir(task_id, name).path)
            ):
                os.unlink(parts.layout.marker(name))  # its request, still there, makes it anew
                continue
            stimuli_of[name] = _take_up(
                parts, task_id, name, accepted_ids, is_copy=copied is not None
            )
        except OSError as error:  # the other runs are taken up all the same
            parts.readers.pop(name, None)
            parts.unreadable[name] = str(error)
            parts.log.write("run_unreadable", run_id=name, why=str(error))
            parts.reporter.note(f"{name} cannot be read and is left to the next start: {error}")
        except TypedError as error:  # its marker and its records stay as they are
            parts.readers.pop(name, None)
            parts.log.write("run_left_alone", run_id=name, why=str(error))
            parts.reporter.note(f"run {name} is left alone: {error}")
    numbers = {run_id: parts.readers[run_id].number for run_id in stimuli_of}
    parts.intake.count_on(max(numbers.values(), default=0))
    order = sorted(stimuli_of, key=lambda run_id: (numbers[run_id], run_id))
    found = [item for run_id in order for item in stimuli_of[run_id]]
    found += _stale_states(parts)
    if now != record:
        try:
            store_root_record(parts.layout, now)
        except (OSError, TypedError) as error:  # the next start says the same again
            parts.log.write("root_record_failed", why=str(error))
    return found


def _stale_states(parts: DaemonContext) -> list[Stimulus]:
    """The states that somebody lost or edited; the histories tell what they must say."""
    found: list[Stimulus] = []
    for task_id in tasks(parts.layout):
        try:
            stale = parts.persistence.is_stale(task_id)
        except (OSError, TypedError) as error:  # something that is no history is in its place
            parts.log.write("history_unreadable", task_id=task_id, why=str(error))
            continue
        if stale:
            parts.log.write("state_stale", task_id=task_id)
            found.append(stimuli.StateStale(task_id))
    return found


def _task_of(parts: DaemonContext, run_id: str) -> str | None:
    """The task that a marker names; where it is damaged the run's directory is looked for."""
    layout = parts.layout
    path = layout.marker(run_id)
    task_id = ""
    try:
        task_id = read_marker(path)
    except BadFileError:
        parts.log.write("marker_unreadable", run_id=run_id, now_at=parts.intake.reject(path))
    except TypedError as error:
        parts.log.write("marker_unreadable", run_id=run_id, why=str(error))
    named = task_id if id_problem(task_id) is None else None
    if named is not None and is_dir(layout.run_dir(named, run_id).path):
        return named
    for name in os.listdir(layout.runs):
        if id_problem(name) is None and os.path.isdir(layout.run_dir(name, run_id).path):
            return name
    return named


def _take_up(
    parts: DaemonContext, task_id: str, run_id: str, accepted_ids: frozenset[str], *, is_copy: bool
) -> list[Stimulus]:
    """One run.

    Args:
        parts: the effects and the books.
        task_id: its task.
        run_id: the run.
        accepted_ids: all runs that have a marker.
        is_copy: its directory was copied: whoever was writing there writes in the original.

    Raises:
        NewerRecordError: a later version wrote it.
        BadFileError: its directory is not ours.
    """
    run, layout = parts.layout.run_dir(task_id, run_id), parts.layout
    make_private(layout.task_dir(task_id), layout.runs_of(task_id))
    if os.path.lexists(run.path):
        make_private(run.path)
    spec = _spec(parts, task_id, run_id)
    _check_version(run, task_id)
    parts.intake.sweep_files(run.path, run.commands, run.errors, only_writer=is_copy)
    parts.aside.make_room(run.manifest)
    if not os.path.lexists(layout.marker(run_id)):
        parts.intake.mark([spec])  # something else stood there
    reader = RunReader(parts.layout, spec)
    parts.readers[run_id] = reader
    about = accepted(parts, spec)
    seen = facts(parts, run_id)
    started = has_begun(run, reader.facts, reader.bad_lines_count)
    line = parts.persistence.recorded(task_id, accepted_ids).get(run_id)
    if line is not None and reader.verdict is None:
        give_verdict(parts, reader, line)
    if reader.verdict is not None:
        return [about, verdict(run_id, parts)]
    if any(isinstance(s, stimuli.DirectoryGone) for s in seen):
        return [about, stimuli.DirectoryGone(run_id)]
    placement = load_placement(run)
    if placement is not None:
        placed = placements.take_up(parts, placement, about, started=started)
        if placed is not None:
            adopted, *more = placed
            return [adopted, *_cancelled(reader), *more]
    if _is_owned(parts, reader):
        _watch(parts, run_id)
        parts.log.write("run_adopted", run_id=run_id)
        parts.reporter.adopted(spec)
        return [stimuli.Adopted(about, started), *_cancelled(reader)]
    if started:
        reason = IN_ORIGINAL if parts.began_elsewhere(run_id) else UNSERVED
        return [
            stimuli.Adopted(about, True),
            *_cancelled(reader),
            stimuli.WorkerGone(run_id, reason),
        ]
    return [about]


def _spec(parts: DaemonContext, task_id: str, run_id: str) -> RunSpec:
    """The run's spec, or the little that its marker tells where the spec is gone or damaged."""
    path = parts.layout.run_dir(task_id, run_id).spec
    try:
        spec = load_spec(path)
    except NewerRecordError:
        raise
    except (OSError, TypedError) as error:
        parts.log.write("spec_unreadable", run_id=run_id, why=str(error))
    else:
        if (spec.task_id, spec.run_id) == (task_id, run_id):
            return spec
        parts.log.write("spec_of_another_run", run_id=run_id, says=spec.run_id)
    return RunSpec(
        run_id=run_id,
        task_id=task_id,
        pipeline=PipelineSpec(id="unknown", title="unknown", stages=()),
        asked_by="unknown",
        asked_at=now_text(),
        resume_token="",
    )


def _check_version(run: RunDir, task_id: str) -> None:
    """Leave a manifest of a later version alone; one that is damaged is written anew."""
    try:
        manifest = read_object(run.manifest)
        check_manifest(manifest, run.manifest, task_id=task_id, run_id=run.run_id)
    except NewerRecordError:
        raise
    except (OSError, TypedError):
        return


def _is_owned(parts: DaemonContext, reader: RunReader) -> bool:
    """A worker lives; where its lock's file was replaced, the process itself is the witness."""
    try:
        return is_flocked(reader.run.owner)
    except BadFileError as error:
        parts.log.write("owner_unreadable", run_id=reader.spec.run_id, why=str(error))
        worker = parts.worker_identity(reader.spec.run_id)
        return worker is not None and is_alive(worker)


def _watch(parts: DaemonContext, run_id: str) -> None:
    worker = parts.worker_identity(run_id)
    if worker is None:
        return
    pidfd = living_pidfd(worker)
    if pidfd is not None:
        parts.workers[run_id] = LaunchedWorker(
            pid=worker.pid, start_ticks=worker.start_ticks, pidfd=pidfd
        )


def _cancelled(reader: RunReader) -> list[Stimulus]:
    """An earlier supervisor had already asked the worker to end."""
    try:
        detail = read_object(reader.run.cancel).get("detail")
    except (OSError, TypedError):
        return []
    return [stimuli.CancelAsked(reader.spec.run_id, str(detail or "stopped"))]

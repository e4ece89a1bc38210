"""Recovery at startup: every accepted run continues from what is on disk.

The markers are walked, never the directories of finished runs. A run with a living worker is
adopted, one whose worker is gone is lost, one that never began is queued again, and one with a
verdict is recorded, once. A repeated recovery changes nothing.
"""

import os
from typing import Final

from supervisor.core import stimuli
from supervisor.core.stimuli import Stimulus
from supervisor.daemon.context import DaemonContext
from supervisor.daemon.observe import accepted_run, new_facts, verdict_seen
from supervisor.daemon.restore import restore_histories, restore_verdict
from supervisor.store.root_listing import tasks
from supervisor.store.root_record import (
    copied_from,
    load_root_record,
    root_record,
    store_root_record,
)
from supervisor.store.run_reader import RunReader
from supervisor.store.run_removal import delete_removed
from workers.records.begun import has_begun
from workers.records.files import is_dir, make_private, read_marker, read_object
from workers.records.ids import id_problem, is_run_id
from workers.records.layout import RunDir
from workers.records.manifest_check import check_manifest
from workers.records.request import now_text, pending_requests
from workers.records.spec import PipelineSpec, RunSpec, load_spec
from workers.records.typed_errors import BadFileError, NewerRecordError, TypedError

UNSERVED: Final = "its worker ended without a verdict while no supervisor was running"
IN_ORIGINAL: Final = (
    "it was in progress in the root that this one was copied or restored from; its processes "
    "there, if any, were left alone"
)


def recover(context: DaemonContext) -> list[Stimulus]:
    """Recover every accepted run.

    Returns:
        Stimuli in the order of acceptance; runs that an earlier version accepted come first, by
        their ids.
    """
    record, now = load_root_record(context.layout), root_record(context.layout)
    copied = copied_from(record, now)
    if copied is not None:
        context.log.write("root_copied", original=copied.original, is_there=copied.original_exists)
        context.reporter.note(
            f"{context.layout.root} is {copied.summary}: runs that were in progress there are "
            "recorded here as worker-lost and their processes are left alone; queued runs start "
            "here, too"
        )
    swept_count = context.intake.sweep() + delete_removed(context.layout)
    if swept_count:
        context.log.write("swept", files_count=swept_count)
    restore_histories(context, every_task=record is None or copied is not None)
    stimuli_of = _recover_markers(context, is_copy=copied is not None)
    numbers = {run_id: context.runs[run_id].reader.number for run_id in stimuli_of}
    context.intake.number_from(max(numbers.values(), default=0))
    order = sorted(stimuli_of, key=lambda run_id: (numbers[run_id], run_id))
    events = [item for run_id in order for item in stimuli_of[run_id]]
    events += _stale_states(context)
    if now != record:
        try:
            store_root_record(context.layout, now)
        except (OSError, TypedError) as error:  # the next start tries again
            context.log.write("root_record_failed", why=str(error))
    return events


def _recover_markers(context: DaemonContext, *, is_copy: bool) -> dict[str, list[Stimulus]]:
    """The stimuli of each run that has a marker, by run id."""
    stimuli_of: dict[str, list[Stimulus]] = {}
    requested = {spec.run_id for r in pending_requests(context.layout) for spec in r.runs}
    names = sorted(os.listdir(context.layout.accepted))
    accepted_ids = frozenset(filter(is_run_id, names))
    for name in names:
        if not is_run_id(name):
            context.log.write("foreign_marker", name=name)
            continue
        try:
            task_id = _task_of(context, name)
            if task_id is None or (
                name in requested and not is_dir(context.layout.run_dir(task_id, name).path)
            ):
                os.unlink(context.layout.marker(name))  # its pending request creates it again
                continue
            stimuli_of[name] = _recover_run(context, task_id, name, accepted_ids, is_copy=is_copy)
        except OSError as error:  # the other runs are recovered
            context.runs.pop(name, None)
            context.unreadable[name] = str(error)
            context.log.write("run_unreadable", run_id=name, why=str(error))
            context.reporter.note(f"{name} cannot be read and is left to the next start: {error}")
        except TypedError as error:  # its marker and its records stay as they are
            context.runs.pop(name, None)
            context.log.write("run_left_alone", run_id=name, why=str(error))
            context.reporter.note(f"run {name} is left alone: {error}")
    return stimuli_of


def _stale_states(context: DaemonContext) -> list[Stimulus]:
    """The tasks whose state was lost or edited: it disagrees with the history."""
    events: list[Stimulus] = []
    for task_id in tasks(context.layout):
        try:
            is_stale = context.persistence.is_stale(task_id)
        except (OSError, TypedError) as error:  # something else is in the history's place
            context.log.write("history_unreadable", task_id=task_id, why=str(error))
            continue
        if is_stale:
            context.log.write("state_stale", task_id=task_id)
            events.append(stimuli.StateStale(task_id))
    return events


def _task_of(context: DaemonContext, run_id: str) -> str | None:
    """The task that a marker names; if it is damaged, the task that has the run's directory."""
    layout = context.layout
    path = layout.marker(run_id)
    task_id = ""
    try:
        task_id = read_marker(path)
    except BadFileError:
        context.log.write("marker_unreadable", run_id=run_id, now_at=context.intake.reject(path))
    except TypedError as error:
        context.log.write("marker_unreadable", run_id=run_id, why=str(error))
    named = task_id if id_problem(task_id) is None else None
    if named is not None and is_dir(layout.run_dir(named, run_id).path):
        return named
    for name in os.listdir(layout.runs):
        if id_problem(name) is None and os.path.isdir(layout.run_dir(name, run_id).path):
            return name
    return named


def _recover_run(
    context: DaemonContext,
    task_id: str,
    run_id: str,
    accepted_ids: frozenset[str],
    *,
    is_copy: bool,
) -> list[Stimulus]:
    """Recover one run.

    Raises:
        NewerRecordError: a later version wrote it.
        BadFileError: its directory is not ours.
    """
    run, layout = context.layout.run_dir(task_id, run_id), context.layout
    make_private(layout.task_dir(task_id), layout.runs_of(task_id))
    if os.path.lexists(run.path):
        make_private(run.path)
    spec = _spec(context, task_id, run_id)
    _check_version(run, task_id)
    context.intake.sweep_files(run.path, run.commands, run.errors, only_writer=is_copy)
    context.quarantine.make_room(run.manifest)
    if not os.path.lexists(layout.marker(run_id)):
        context.intake.write_markers([spec])  # something else was in the marker's place
    reader = RunReader(context.layout, spec)
    handle = context.add(reader)
    about = accepted_run(context, spec)
    events = new_facts(context, handle)
    begun = has_begun(run, reader.facts, reader.bad_lines_count)
    line = context.persistence.recorded(task_id, accepted_ids).get(run_id)
    if line is not None and reader.verdict is None:
        restore_verdict(context, reader, line)
    if reader.verdict is not None:
        return [about, verdict_seen(handle)]
    if any(isinstance(s, stimuli.DirectoryGone) for s in events):
        return [about, stimuli.DirectoryGone(run_id)]
    for launcher in context.launchers.adopters(spec):
        adopted = launcher.adopt(handle, about, begun=begun)
        if adopted is not None:
            handle.launcher = launcher
            first, *more = adopted
            return [first, *_cancelled(reader), *more]
    if begun:
        reason = IN_ORIGINAL if context.began_elsewhere(handle) else UNSERVED
        adopted = [stimuli.Adopted(about, True), *_cancelled(reader)]
        return [*adopted, stimuli.WorkerGone(run_id, reason)]
    return [about]


def _spec(context: DaemonContext, task_id: str, run_id: str) -> RunSpec:
    """The run's spec; if it is gone or damaged, what the marker says."""
    path = context.layout.run_dir(task_id, run_id).spec
    try:
        spec = load_spec(path)
    except NewerRecordError:
        raise
    except (OSError, TypedError) as error:
        context.log.write("spec_unreadable", run_id=run_id, why=str(error))
    else:
        if (spec.task_id, spec.run_id) == (task_id, run_id):
            return spec
        context.log.write("spec_of_another_run", run_id=run_id, says=spec.run_id)
    return RunSpec(
        run_id=run_id,
        task_id=task_id,
        pipeline=PipelineSpec(id="unknown", title="unknown", stages=()),
        asked_by="unknown",
        asked_at=now_text(),
        resume_token="",
    )


def _check_version(run: RunDir, task_id: str) -> None:
    """Raise for a manifest of a later version; a damaged one is written again later."""
    try:
        manifest = read_object(run.manifest)
        check_manifest(manifest, run.manifest, task_id=task_id, run_id=run.run_id)
    except NewerRecordError:
        raise
    except (OSError, TypedError):
        return


def _cancelled(reader: RunReader) -> list[Stimulus]:
    """The cancellation that an earlier supervisor had requested."""
    try:
        detail = read_object(reader.run.cancel).get("detail")
    except (OSError, TypedError):
        return []
    return [stimuli.CancelRequested(reader.spec.run_id, str(detail or "stopped"))]

"""Records of different ages: ``.runs`` or ``out/`` was deleted, or restored from an older copy.

A run has one verdict: the one that was recorded first. If a journal lacks the verdict that the
history has, it is added. If a history lacks a run's line, the line is added; a run without a
verdict gets its marker back. This is checked only if it may be needed: the root is a copy or has no
record of itself yet, or a history is shorter than it was.
"""

import os
from collections.abc import Mapping
from typing import Any, Final

from supervisor.daemon.context import DaemonContext
from supervisor.store.root_listing import tasks
from supervisor.store.run_reader import RunReader
from workers.records.flock import take_flock
from workers.records.history import STATUSES, read_lines
from workers.records.ids import is_run_id
from workers.records.journal import FROM_HISTORY, Event, JournalWriter
from workers.records.spec import RunSpec, load_spec
from workers.records.typed_errors import TypedError

REASON: Final = (
    "the history has this verdict; the run's own records were restored from an older copy and are "
    "incomplete"
)
_GROUP_COUNT: Final = 500  # runs that are read and appended together


def restore_histories(context: DaemonContext, *, every_task: bool) -> None:
    """Add missing runs to histories, before markers are walked.

    By default only histories that are shorter than they were are checked.
    """
    for task_id in tasks(context.layout):
        if not every_task and not context.persistence.lacks_lines(task_id):
            continue
        try:
            _restore(context, task_id)
        except (OSError, TypedError) as error:  # the next start tries again
            context.log.write("history_not_restored", task_id=task_id, why=str(error))
            context.reporter.note(f"task {task_id}: its history could not be completed: {error}")


def _restore(context: DaemonContext, task_id: str) -> None:
    layout = context.layout
    try:
        names = sorted(name for name in os.listdir(layout.runs_of(task_id)) if is_run_id(name))
    except FileNotFoundError:
        return
    names = [name for name in names if not os.path.lexists(layout.marker(name))]
    if not names:
        return
    known = {str(line.get("runId")) for _, line in read_lines(layout.history(task_id))}
    names = [name for name in names if name not in known]
    unfinished: list[RunSpec] = []
    restored_count = 0
    for begin in range(0, len(names), _GROUP_COUNT):
        readers = [_reader(context, task_id, n) for n in names[begin : begin + _GROUP_COUNT]]
        finished = [one for one in readers if one is not None and one.verdict is not None]
        unfinished += [one.spec for one in readers if one is not None and one.verdict is None]
        if finished:
            context.persistence.restore_lines(finished)
            restored_count += len(finished)
    context.intake.write_markers(unfinished)
    if restored_count or unfinished:
        counts = {"restored_count": restored_count, "unfinished_count": len(unfinished)}
        context.log.write("history_restored", task_id=task_id, **counts)
        context.reporter.note(
            f"task {task_id}: {restored_count} finished runs that its history lacked were added "
            f"from their journals; {len(unfinished)} unfinished runs were recovered"
        )


def _reader(context: DaemonContext, task_id: str, run_id: str) -> RunReader | None:
    """A run's records; None if they cannot be read, which ``verify`` reports."""
    try:
        spec = load_spec(context.layout.run_dir(task_id, run_id).spec)
        if (spec.task_id, spec.run_id) != (task_id, run_id):
            return None
        reader = RunReader(context.layout, spec)
        reader.read()
        reader.close()
    except (OSError, TypedError) as error:
        context.log.write("run_left_alone", run_id=run_id, why=str(error))
        return None
    return reader


def restore_verdict(context: DaemonContext, reader: RunReader, line: Mapping[str, Any]) -> None:
    """Append the verdict of the history to a journal that has none.

    Does nothing if a worker holds the run, or the line is damaged.

    Raises:
        OSError: the disk refuses.
        BadFileError: something else is in the place of the journal or the lock.
    """
    status, detail, ended_at = (line.get(key) for key in ("status", "statusDetail", "timestamp"))
    if status not in STATUSES or not isinstance(ended_at, str):
        return
    owner_fd = take_flock(reader.run.owner)
    if owner_fd is None:
        return
    try:
        journal = JournalWriter(reader.run.journal, by="supervisor", clock=context.clock)
        try:
            verdict = restored_verdict(status, detail, line.get("durationSeconds"), reason=REASON)
            journal.append(Event.VERDICT, verdict, at=ended_at)
        finally:
            journal.close()
    finally:
        os.close(owner_fd)
    reader.read()
    context.log.write("verdict_from_history", run_id=reader.spec.run_id, status=status)
    context.reporter.note(
        f"{reader.spec.run_id}: its history has it as {status}; its older records were completed"
    )


def restored_verdict(
    status: object, detail: object, duration_s: object, *, reason: str
) -> dict[str, Any]:
    """The data of a verdict that is restored from another record; invalid values are dropped."""
    if not (isinstance(duration_s, int | float) and 0 <= duration_s < float("inf")):
        duration_s = None
    return {
        "status": status,
        "detail": detail if isinstance(detail, str) else None,
        "reason": reason,
        "summary": None,
        "duration_s": None if duration_s is None else float(duration_s),
        "leftover_pids": [],
        FROM_HISTORY: True,
    }

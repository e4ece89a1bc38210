"""Records of different days: ``.runs`` or ``out/`` was deleted, or restored from an older copy.

A run has one verdict, and the one that was recorded first stands. A history that has a run which
its journal calls unfinished gives its verdict back to the journal. A run directory that its history
lacks gets its line back, or its marker if it has no verdict. All this is looked for only if
something shows that it may be needed: the root is a copy or has no record of itself yet, or a
history is shorter than it was.
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
    "the history has this verdict; the run's own records are older, restored from a copy, and tell "
    "less"
)
_GROUP_COUNT: Final = 500  # runs that are read and appended together


def restore_histories(context: DaemonContext, *, every_task: bool) -> None:
    """Give histories the runs that they lack. Call before markers are walked.

    Args:
        context: the effects and the books.
        every_task: check all tasks, not only those whose history is shorter than it was.
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
    finished: list[RunReader] = []
    unfinished: list[RunSpec] = []
    restored_count = 0
    for name in names:
        if name in known:
            continue
        reader = _reader(context, task_id, name)
        if reader is None:
            continue
        if reader.verdict is None:
            unfinished.append(reader.spec)
            continue
        finished.append(reader)
        if len(finished) == _GROUP_COUNT:
            context.persistence.restore_lines(finished)
            restored_count += len(finished)
            finished.clear()
    if finished:
        context.persistence.restore_lines(finished)
        restored_count += len(finished)
    context.intake.mark(unfinished)
    if restored_count or unfinished:
        counts = {"restored_count": restored_count, "unfinished_count": len(unfinished)}
        context.log.write("history_restored", task_id=task_id, **counts)
        context.reporter.note(
            f"task {task_id}: its history lacked {restored_count} finished runs, which were added "
            f"from their journals; {len(unfinished)} unfinished runs were taken up again"
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


def give_verdict(context: DaemonContext, reader: RunReader, line: Mapping[str, Any]) -> bool:
    """Write the verdict that the history has into the journal of a run that has none.

    Args:
        context: the effects and the books.
        reader: the run.
        line: its line of the history.

    Returns:
        False if a worker holds the run, or the line is damaged.

    Raises:
        OSError: the disk refuses.
        BadFileError: something else is in the place of the journal or the lock.
    """
    status, detail, ended_at = (line.get(key) for key in ("status", "statusDetail", "timestamp"))
    if status not in STATUSES or not isinstance(ended_at, str):
        return False
    owner_fd = take_flock(reader.run.owner)
    if owner_fd is None:
        return False
    try:
        journal = JournalWriter(reader.run.journal, by="supervisor", clock=context.clock)
        try:
            verdict = {
                "status": status,
                "detail": detail if isinstance(detail, str) else None,
                "reason": REASON,
                "summary": None,
                "duration_s": _seconds(line.get("durationSeconds")),
                "leftover_pids": [],
                FROM_HISTORY: True,
            }
            journal.append(Event.VERDICT, verdict, at=ended_at)
        finally:
            journal.close()
    finally:
        os.close(owner_fd)
    reader.read()
    context.log.write("verdict_from_history", run_id=reader.spec.run_id, status=status)
    context.reporter.note(
        f"{reader.spec.run_id}: its history has it as {status}; its records are older and were "
        "completed"
    )
    return True


def _seconds(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and 0 <= value < float("inf") else None

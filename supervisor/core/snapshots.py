"""When a task's state is written: soon, many runs together, and for as long as it takes.

A snapshot whose bounded tries failed is *owed*: shown in the manifests, tried on, never forgotten.
"""

from dataclasses import replace

from supervisor.core.actions import ReleaseMarker, ReportOwed, WriteManifest
from supervisor.core.fleet import Draft, Snapshot
from supervisor.core.lifecycle import Recorded, Run
from supervisor.core.policy.backoff import Jitter


def run_recorded(draft: Draft, run: Run) -> None:
    """A run joined its task's history: its state is due."""
    book = draft.snapshots.get(run.task_id)
    if book is None:
        draft.snapshots[run.task_id] = Snapshot(due_mono_s=draft.now)
    elif book.owed:
        _mark_owed(draft, run, book.reason)


def stale(draft: Draft, task_id: str) -> None:
    """What is on disk must be written anew, although no run joined the history."""
    draft.snapshots.setdefault(task_id, Snapshot(due_mono_s=draft.now))


def written(draft: Draft, task_id: str) -> None:
    """The state is on disk: every recorded run of the task is settled and leaves."""
    draft.snapshots.pop(task_id, None)
    for run in _recorded(draft, task_id):
        if isinstance(run.state, Recorded) and run.state.owed:
            draft.act(WriteManifest(run.run_id))
        draft.change(run, settled=True)
    leave(draft)


def refused(draft: Draft, task_id: str, reason: str, jitter: Jitter) -> None:
    """A try failed: wait and try again, or, after the last, owe."""
    book = draft.snapshots.get(task_id)
    if book is None:
        return
    failures_count = book.failures_count + 1
    wait_s = draft.rules.lock.wait_s(failures_count, jitter)
    if wait_s is not None:
        draft.snapshots[task_id] = Snapshot(
            due_mono_s=draft.now + wait_s, failures_count=failures_count
        )
        return
    draft.snapshots[task_id] = Snapshot(
        due_mono_s=draft.now + draft.rules.owed_retry_s,
        failures_count=failures_count,
        owed=True,
        reason=reason,
    )
    if book.owed:
        return
    draft.act(ReportOwed(task_id, failures_count, reason))
    for run in _recorded(draft, task_id):
        _mark_owed(draft, run, reason)


def leave(draft: Draft) -> None:
    """Let every settled run go whose processes are all gone."""
    for run in [draft.active[run_id] for run_id in draft.busy]:
        if run.settled and not run.remains:
            draft.drop(run)
            draft.act(ReleaseMarker(run.run_id))


def _mark_owed(draft: Draft, run: Run, reason: str) -> None:
    if isinstance(run.state, Recorded):
        draft.change(run, state=replace(run.state, owed=True))
        draft.act(WriteManifest(run.run_id, owed=reason))


def _recorded(draft: Draft, task_id: str) -> list[Run]:
    return [
        run
        for run in draft.active.values()
        if run.task_id == task_id and isinstance(run.state, Recorded)
    ]

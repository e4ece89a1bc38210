"""Outcomes of writing verdicts, manifests, histories and task states.

A task's state is written soon, for many runs at once, and retried for as long as it takes. After
the bounded attempts at its lock the snapshot is *owed*: manifests show it, and it is still retried.
"""

import zlib
from dataclasses import replace
from typing import Final

from supervisor.core import stimuli
from supervisor.core.actions import ReleaseMarker, ReportOwed, WriteManifest
from supervisor.core.fleet import Draft, Snapshot
from supervisor.core.lifecycle import Ended, Judged, Move, Recorded, Run

_SPREAD: Final = 4  # manifests of runs that began together are spread over a quarter of the wait


def write_failed(draft: Draft, s: stimuli.VerdictWriteFailed | stimuli.RecordFailed) -> None:
    """A verdict or a record could not be written: retry later."""
    wanted = Judged if isinstance(s, stimuli.VerdictWriteFailed) else Ended
    run = draft.find(s.run_id)
    if run is not None and isinstance(run.state, Judged | Ended) and type(run.state) is wanted:
        at = draft.now + draft.rules.record_retry_s
        draft.change(run, state=replace(run.state, write_at_mono_s=at, refused=s.reason))


def manifest_written(draft: Draft, s: stimuli.ManifestWritten) -> None:
    """A heartbeat alone causes the next manifest after ``manifest_throttle_s`` to 1.25 times it."""
    if draft.find(s.run_id) is not None:
        share = zlib.crc32(s.run_id.encode()) / (_SPREAD << 32)
        draft.manifests_due[s.run_id] = draft.now + draft.rules.manifest_throttle_s * (1 + share)


def run_recorded(draft: Draft, s: stimuli.RunRecorded) -> None:
    """A run is in its task's history: the task's state is due."""
    run = draft.find(s.run_id)
    if run is None or not isinstance(run.state, Ended):
        return
    recorded = Recorded(status=run.state.status, detail=run.state.detail)
    run = draft.move(run, Move.RECORD, recorded)
    snapshot = draft.snapshots.get(run.task_id)
    if snapshot is None:
        draft.snapshots[run.task_id] = Snapshot(due_mono_s=draft.now)
    elif snapshot.owed:
        _mark_owed(draft, run, recorded, snapshot.reason)


def state_stale(draft: Draft, s: stimuli.StateStale) -> None:
    """The task's state must be written although no run was recorded."""
    draft.snapshots.setdefault(s.task_id, Snapshot(due_mono_s=draft.now))


def snapshot_written(draft: Draft, s: stimuli.SnapshotWritten) -> None:
    """The task's state is on disk: every recorded run of the task is settled and leaves."""
    draft.snapshots.pop(s.task_id, None)
    for run, state in _recorded(draft, s.task_id):
        if state.owed:
            draft.act(WriteManifest(run.run_id))
        draft.change(run, state=replace(state, settled=True))
    drop_settled(draft)


def snapshot_write_failed(draft: Draft, s: stimuli.SnapshotWriteFailed) -> None:
    """Retry after a wait; after the last bounded attempt the snapshot is owed."""
    snapshot = draft.snapshots.get(s.task_id)
    if snapshot is None:
        return
    failures_count = snapshot.failures_count + 1
    wait_s = draft.rules.lock.wait_s(failures_count, draft.jitter)
    if wait_s is not None:
        due_mono_s = draft.now + wait_s
        draft.snapshots[s.task_id] = Snapshot(due_mono_s=due_mono_s, failures_count=failures_count)
        return
    draft.snapshots[s.task_id] = Snapshot(
        due_mono_s=draft.now + draft.rules.owed_retry_s,
        failures_count=failures_count,
        owed=True,
        reason=s.reason,
    )
    if not snapshot.owed:
        draft.act(ReportOwed(s.task_id, failures_count, s.reason))
        for run, state in _recorded(draft, s.task_id):
            _mark_owed(draft, run, state, s.reason)


def drop_settled(draft: Draft) -> None:
    """Remove the settled runs that have no process left."""
    for run in [draft.active[run_id] for run_id in draft.busy]:
        if isinstance(run.state, Recorded) and run.state.settled and run.killing is None:
            draft.drop(run)
            draft.act(ReleaseMarker(run.run_id))


def _mark_owed(draft: Draft, run: Run, state: Recorded, reason: str) -> None:
    draft.change(run, state=replace(state, owed=True))
    draft.act(WriteManifest(run.run_id, owed=reason))


def _recorded(draft: Draft, task_id: str) -> list[tuple[Run, Recorded]]:
    runs = [run for run in draft.active.values() if run.task_id == task_id]
    return [(run, run.state) for run in runs if isinstance(run.state, Recorded)]

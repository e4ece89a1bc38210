"""``step``: what happened in, the next fleet and what to do out. No clock, no chance, no disk.

Each stimulus has one small function: what was seen in ``seen``, what somebody asked for in
``asked``, what came of our own actions below. After the stimuli the timers find what is due.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

from supervisor.core import operator_requests, snapshots, stimuli, timers, worker_events
from supervisor.core.actions import Action
from supervisor.core.fleet import Draft, Fleet, Rules
from supervisor.core.lifecycle import Ended, Judged, Move, Recorded
from supervisor.core.policy.backoff import Jitter
from supervisor.core.stimuli import Stimulus
from supervisor.core.throttle import wait_s


def step(
    fleet: Fleet,
    happened: Iterable[Stimulus],
    *,
    now_mono_s: float,
    rules: Rules,
    jitter: Jitter,
) -> tuple[Fleet, tuple[Action, ...]]:
    """Take one turn.

    Args:
        fleet: all runs as they were.
        happened: what the shell has seen since, in order.
        now_mono_s: this instant on the monotonic clock.
        rules: the settings that decisions need.
        jitter: draws from 0 to 1 for waits.

    Returns:
        The next fleet, and what the shell is to do, in order.

    Raises:
        IllegalMoveError: a bug; the old fleet stands.
    """
    draft = Draft(fleet, now_mono_s=now_mono_s, rules=rules)
    for stimulus in happened:
        _HANDLERS[type(stimulus)](draft, stimulus, jitter)
    timers.run(draft)
    next_fleet = draft.finish()
    timers.admit(next_fleet, draft)
    return draft.finish(), tuple(draft.actions)


def _verdict_refused(draft: Draft, s: stimuli.VerdictWriteFailed, _: Jitter) -> None:
    run = draft.find(s.run_id)
    if run is not None and isinstance(run.state, Judged):
        retry_mono_s = draft.now + draft.rules.record_retry_s
        draft.change(run, retry_mono_s=retry_mono_s, refused=s.reason)


def _manifest_written(draft: Draft, s: stimuli.ManifestWritten, _: Jitter) -> None:
    if draft.find(s.run_id) is not None:
        draft.due[s.run_id] = draft.now + wait_s(s.run_id, draft.rules.manifest_throttle_s)
        draft.tried[s.run_id] = draft.now


def _run_recorded(draft: Draft, s: stimuli.RunRecorded, _: Jitter) -> None:
    run = draft.find(s.run_id)
    if run is None or not isinstance(run.state, Ended):
        return
    recorded = Recorded(status=run.state.status, detail=run.state.detail)
    snapshots.run_recorded(draft, draft.move(run, Move.RECORD, recorded, refused=None))


def _record_failed(draft: Draft, s: stimuli.RecordFailed, _: Jitter) -> None:
    run = draft.find(s.run_id)
    if run is not None and isinstance(run.state, Ended):
        retry_mono_s = draft.now + draft.rules.record_retry_s
        draft.change(run, retry_mono_s=retry_mono_s, refused=s.reason)


def _snapshot_written(draft: Draft, s: stimuli.SnapshotWritten, _: Jitter) -> None:
    snapshots.written(draft, s.task_id)


def _snapshot_refused(draft: Draft, s: stimuli.SnapshotWriteFailed, jitter: Jitter) -> None:
    snapshots.refused(draft, s.task_id, s.reason, jitter)


def _state_stale(draft: Draft, s: stimuli.StateStale, _: Jitter) -> None:
    snapshots.stale(draft, s.task_id)


_HANDLERS: Final[dict[type, Callable[[Draft, Any, Jitter], None]]] = {
    stimuli.Accepted: worker_events.accepted,
    stimuli.Adopted: worker_events.adopted,
    stimuli.LaunchFailed: worker_events.launch_failed,
    stimuli.PlacementWithdrawn: worker_events.taken_back,
    stimuli.CallerGone: worker_events.caller_gone,
    stimuli.Started: worker_events.started,
    stimuli.WorkerOnHost: worker_events.hosted,
    stimuli.JournalAdvanced: worker_events.moved,
    stimuli.VerdictRead: worker_events.verdict_seen,
    stimuli.WorkerGone: worker_events.worker_gone,
    stimuli.DirectoryGone: worker_events.directory_gone,
    stimuli.HeartbeatsScanned: worker_events.looked,
    stimuli.Stalled: worker_events.stalled,
    stimuli.LeftoversKilled: worker_events.cleared,
    stimuli.KillingFailed: worker_events.clear_failed,
    stimuli.VerdictWriteFailed: _verdict_refused,
    stimuli.ManifestWritten: _manifest_written,
    stimuli.RunRecorded: _run_recorded,
    stimuli.RecordFailed: _record_failed,
    stimuli.SnapshotWritten: _snapshot_written,
    stimuli.SnapshotWriteFailed: _snapshot_refused,
    stimuli.StateStale: _state_stale,
    stimuli.CancelRequested: operator_requests.cancel_asked,
    stimuli.DrainRequested: operator_requests.drain_asked,
    stimuli.StopRequested: operator_requests.stop_asked,
    stimuli.LimitChanged: operator_requests.limit_changed,
    stimuli.PausesChanged: operator_requests.pauses_changed,
}

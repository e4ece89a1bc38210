"""``step``: stimuli in, the next fleet and the actions out. No clock, no randomness, no disk.

Each kind of stimulus has one small function: those about workers in ``worker_events``, requests in
``operator_requests``, outcomes of our own writes in ``recording``. After the stimuli, ``timers``
adds what is due.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

from supervisor.core import operator_requests, recording, stimuli, timers, worker_events
from supervisor.core.actions import Action
from supervisor.core.fleet import Draft, Fleet, Rules
from supervisor.core.policy.backoff import Jitter
from supervisor.core.stimuli import Stimulus


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
        happened: what the daemon has observed since, in order.
        now_mono_s: this instant on the monotonic clock.
        rules: the settings that decisions need.
        jitter: draws from 0 to 1 for waits.

    Returns:
        The next fleet, and the actions to perform, in order.

    Raises:
        IllegalMoveError: a bug; the old fleet is unchanged.
    """
    draft = Draft(fleet, now_mono_s=now_mono_s, rules=rules, jitter=jitter)
    for stimulus in happened:
        HANDLERS[type(stimulus)](draft, stimulus)
    timers.run(draft)
    next_fleet = draft.finish()
    timers.admit(next_fleet, draft)
    return draft.finish(), tuple(draft.actions)


HANDLERS: Final[dict[type, Callable[[Draft, Any], None]]] = {
    stimuli.Accepted: worker_events.accepted,
    stimuli.Adopted: worker_events.adopted,
    stimuli.LaunchFailed: worker_events.launch_failed,
    stimuli.PlacementWithdrawn: worker_events.placement_withdrawn,
    stimuli.CallerGone: worker_events.caller_gone,
    stimuli.Started: worker_events.started,
    stimuli.WorkerOnHost: worker_events.worker_on_host,
    stimuli.JournalAdvanced: worker_events.journal_advanced,
    stimuli.VerdictRead: worker_events.verdict_read,
    stimuli.WorkerGone: worker_events.worker_gone,
    stimuli.DirectoryGone: worker_events.directory_gone,
    stimuli.HeartbeatsScanned: worker_events.heartbeats_scanned,
    stimuli.Stalled: worker_events.stalled,
    stimuli.LeftoversKilled: worker_events.leftovers_killed,
    stimuli.KillingFailed: worker_events.killing_failed,
    stimuli.VerdictWriteFailed: recording.write_failed,
    stimuli.ManifestWritten: recording.manifest_written,
    stimuli.RunRecorded: recording.run_recorded,
    stimuli.RecordFailed: recording.write_failed,
    stimuli.SnapshotWritten: recording.snapshot_written,
    stimuli.SnapshotWriteFailed: recording.snapshot_write_failed,
    stimuli.StateStale: recording.state_stale,
    stimuli.CancelRequested: operator_requests.cancel_requested,
    stimuli.DrainRequested: operator_requests.drain_requested,
    stimuli.StopRequested: operator_requests.stop_requested,
    stimuli.LimitChanged: operator_requests.limit_changed,
    stimuli.PausesChanged: operator_requests.pauses_changed,
}

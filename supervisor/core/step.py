"""``step``: what happened in, the next fleet and what to do out. No clock, no chance, no disk.

Each stimulus has one small function below. A stimulus about a run that has left the fleet, or that
tells what the state already knows, changes nothing: the shell may look twice. After the stimuli the
timers (``timers.run``) find what is due at this instant.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Final

from supervisor.core import snapshots, stimuli, timers
from supervisor.core.actions import Action, AskStop, WriteManifest
from supervisor.core.backoff import Jitter
from supervisor.core.fleet import Draft, Fleet, Mode, Rules
from supervisor.core.lifecycle import (
    LIVE,
    Clearing,
    Ended,
    Judged,
    Move,
    Queued,
    Recorded,
    Run,
    Running,
    Starting,
    Stopping,
)
from supervisor.core.liveness import HUNG_LOOKS_COUNT, Liveness, judge
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


def _new_run(s: stimuli.Accepted, state: Queued | Starting | Running) -> Run:
    return Run(
        run_id=s.run_id,
        task_id=s.task_id,
        parent_run_id=s.parent_run_id,
        waited_for=s.waited_for,
        state=state,
    )


def _accepted(draft: Draft, s: stimuli.Accepted, _: Jitter) -> None:
    if draft.find(s.run_id) is None:
        draft.put(_new_run(s, Queued()))


def _adopted(draft: Draft, s: stimuli.Adopted, _: Jitter) -> None:
    running = Running(since_mono_s=draft.now)
    starting = Starting(since_mono_s=draft.now, launches_count=1)
    run = _new_run(s.about, running if s.started else starting)
    draft.put(replace(run, beat_mono_s=draft.now))
    draft.act(WriteManifest(run.run_id))


def _launch_failed(draft: Draft, s: stimuli.LaunchFailed, jitter: Jitter) -> None:
    run = draft.find(s.run_id)
    if run is None or not isinstance(run.state, Starting):
        return
    wait_s = draft.rules.launch.wait_s(run.state.launches_count, jitter) if s.transient else None
    if wait_s is None:
        judged = Judged(status="failed", detail="spawn-failed", reason=s.reason)
        draft.move(run, Move.JUDGE, judged)
        return
    again = Queued(not_before_mono_s=draft.now + wait_s, launches_count=run.state.launches_count)
    draft.move(run, Move.RETRY_LAUNCH, again)


def _started(draft: Draft, s: stimuli.Started, _: Jitter) -> None:
    run = draft.find(s.run_id)
    if run is not None and isinstance(run.state, Starting):
        draft.move(run, Move.START, Running(since_mono_s=draft.now), beat_mono_s=draft.now)


def _moved(draft: Draft, s: stimuli.Moved, _: Jitter) -> None:
    run = draft.find(s.run_id)
    if run is not None and isinstance(run.state, LIVE):
        draft.act(WriteManifest(s.run_id))


def _verdict_seen(draft: Draft, s: stimuli.VerdictSeen, _: Jitter) -> None:
    run = draft.find(s.run_id)
    if run is None or isinstance(run.state, Ended | Recorded):
        return
    draft.move(run, Move.END, Ended(status=s.status, detail=s.detail), retry_mono_s=0.0)


def _lose(draft: Draft, run: Run, *, status: str, detail: str, reason: str) -> None:
    clearing = Clearing(since_mono_s=draft.now, status=status, detail=detail, reason=reason)
    draft.move(run, Move.LOSE, clearing, remains=True, clear_mono_s=draft.now)
    _stop_children(draft, run)


def _stop_children(draft: Draft, run: Run) -> None:
    """Nothing that a run asked for outlives it."""
    for child in [*draft.active.values(), *draft.queued.values()]:
        if child.parent_run_id == run.run_id:
            _stop(draft, child, "stopped")


def _worker_gone(draft: Draft, s: stimuli.WorkerGone, _: Jitter) -> None:
    run = draft.find(s.run_id)
    if run is None:
        return
    match run.state:
        case Stopping(detail=detail):
            _lose(draft, run, status="cancelled", detail=detail, reason=s.reason)
        case Starting() | Running():
            _lose(draft, run, status="failed", detail="worker-lost", reason=s.reason)
        case _:
            return


def _directory_gone(draft: Draft, s: stimuli.DirectoryGone, _: Jitter) -> None:
    run = draft.find(s.run_id)
    if run is None:
        return
    reason = "the run's directory was deleted while it ran"
    match run.state:
        case Starting() | Running() | Stopping():
            _lose(draft, run, status="failed", detail="run-dir-deleted", reason=reason)
        case Queued():
            judged = Judged(status="failed", detail="run-dir-deleted", reason=reason)
            draft.move(run, Move.JUDGE, judged)
        case _:
            return


def _look(draft: Draft, s: stimuli.Look, _: Jitter) -> None:
    run = draft.find(s.run_id)
    if run is None or not isinstance(run.state, Starting | Running | Stopping):
        return
    if s.beat_moved:
        draft.change(
            run,
            beat_mono_s=draft.now,
            beat_since_manifest=True,
            liveness=Liveness.FRESH,
            hung_looks_count=0,
        )
        return
    age_s = draft.now - run.beat_mono_s
    word = judge(age_s=age_s, stopped=s.stopped, ages=draft.rules.ages)
    looks_count = run.hung_looks_count + 1 if word is Liveness.HUNG else 0
    if word != run.liveness or looks_count != run.hung_looks_count:
        run = draft.change(run, liveness=word, hung_looks_count=looks_count)
    if looks_count >= HUNG_LOOKS_COUNT:
        reason = f"no heartbeat for {age_s:.0f} s although its process was not stopped"
        _lose(draft, run, status="failed", detail="worker-hung", reason=reason)


def _stalled(draft: Draft, _s: stimuli.Stalled, _: Jitter) -> None:
    for run in list(draft.active.values()):
        if isinstance(run.state, LIVE):
            draft.change(run, beat_mono_s=draft.now, hung_looks_count=0)


def _cleared(draft: Draft, s: stimuli.Cleared, _: Jitter) -> None:
    run = draft.find(s.run_id)
    if run is None:
        return
    run = draft.change(
        run, remains=bool(s.alive_pids), clear_mono_s=draft.now + draft.rules.clear_every_s
    )
    state = run.state
    if not isinstance(state, Clearing):
        return
    if s.alive_pids and draft.now - state.since_mono_s < draft.rules.clear_within_s:
        return
    judged = Judged(
        status=state.status,
        detail=state.detail,
        reason=state.reason,
        leftover_pids=s.alive_pids,
    )
    draft.move(run, Move.JUDGE, judged)


def _verdict_refused(draft: Draft, s: stimuli.VerdictRefused, _: Jitter) -> None:
    run = draft.find(s.run_id)
    if run is not None and isinstance(run.state, Judged):
        draft.change(run, retry_mono_s=draft.now + draft.rules.record_retry_s)


def _manifest_written(draft: Draft, s: stimuli.ManifestWritten, _: Jitter) -> None:
    run = draft.find(s.run_id)
    if run is not None:
        draft.change(run, manifest_mono_s=draft.now, beat_since_manifest=False)


def _run_recorded(draft: Draft, s: stimuli.RunRecorded, _: Jitter) -> None:
    run = draft.find(s.run_id)
    if run is None or not isinstance(run.state, Ended):
        return
    recorded = Recorded(status=run.state.status, detail=run.state.detail)
    snapshots.run_recorded(draft, draft.move(run, Move.RECORD, recorded))


def _record_failed(draft: Draft, s: stimuli.RecordFailed, _: Jitter) -> None:
    run = draft.find(s.run_id)
    if run is not None and isinstance(run.state, Ended):
        draft.change(run, retry_mono_s=draft.now + draft.rules.record_retry_s)


def _snapshot_written(draft: Draft, s: stimuli.SnapshotWritten, _: Jitter) -> None:
    snapshots.written(draft, s.task_id)


def _snapshot_refused(draft: Draft, s: stimuli.SnapshotRefused, jitter: Jitter) -> None:
    snapshots.refused(draft, s.task_id, s.reason, jitter)


def _stop(draft: Draft, run: Run, detail: str) -> None:
    match run.state:
        case Queued():
            judged = Judged(status="cancelled", detail=detail, reason="it was still queued")
            draft.move(run, Move.JUDGE, judged)
        case Starting() | Running():
            draft.move(run, Move.STOP, Stopping(since_mono_s=draft.now, detail=detail))
            draft.act(AskStop(run.run_id, detail))
        case _:
            return


def _cancel_asked(draft: Draft, s: stimuli.CancelAsked, _: Jitter) -> None:
    run = draft.find(s.run_id)
    if run is not None:
        _stop(draft, run, s.detail)


def _drain_asked(draft: Draft, _s: stimuli.DrainAsked, _: Jitter) -> None:
    if draft.mode is Mode.SERVING:
        draft.mode = Mode.DRAINING


def _stop_asked(draft: Draft, _s: stimuli.StopAsked, _: Jitter) -> None:
    draft.mode = Mode.STOPPING
    for run in list(draft.active.values()):
        _stop(draft, run, "stopped")


def _limit_changed(draft: Draft, s: stimuli.LimitChanged, _: Jitter) -> None:
    draft.max_runs = s.max_runs


_HANDLERS: Final[dict[type, Callable[[Draft, Any, Jitter], None]]] = {
    stimuli.Accepted: _accepted,
    stimuli.Adopted: _adopted,
    stimuli.LaunchFailed: _launch_failed,
    stimuli.Started: _started,
    stimuli.Moved: _moved,
    stimuli.VerdictSeen: _verdict_seen,
    stimuli.WorkerGone: _worker_gone,
    stimuli.DirectoryGone: _directory_gone,
    stimuli.Look: _look,
    stimuli.Stalled: _stalled,
    stimuli.Cleared: _cleared,
    stimuli.VerdictRefused: _verdict_refused,
    stimuli.ManifestWritten: _manifest_written,
    stimuli.RunRecorded: _run_recorded,
    stimuli.RecordFailed: _record_failed,
    stimuli.SnapshotWritten: _snapshot_written,
    stimuli.SnapshotRefused: _snapshot_refused,
    stimuli.CancelAsked: _cancel_asked,
    stimuli.DrainAsked: _drain_asked,
    stimuli.StopAsked: _stop_asked,
    stimuli.LimitChanged: _limit_changed,
}

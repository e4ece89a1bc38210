"""What was observed of runs and their workers, and what it means for a run's state.

A stimulus about a run that has left the fleet, or that repeats what the state already says, changes
nothing: the daemon may observe the same fact twice.
"""

from dataclasses import replace

from supervisor.core import dependencies, stimuli
from supervisor.core.actions import WriteManifest
from supervisor.core.fleet import Draft
from supervisor.core.lifecycle import (
    LIVE,
    WATCHED,
    Clearing,
    Ended,
    Judged,
    Killing,
    Move,
    Queued,
    Recorded,
    Run,
    Running,
    Starting,
    Stopping,
)
from supervisor.core.operator_requests import stop
from supervisor.core.policy.liveness import HUNG_SCANS_COUNT, Liveness, judge


def _new_run(s: stimuli.Accepted, state: Queued | Starting | Running) -> Run:
    return Run(
        run_id=s.run_id,
        task_id=s.task_id,
        parent_run_id=s.parent_run_id,
        priority=s.priority,
        group=s.group,
        nested_in=s.nested_in,
        dependencies=s.dependencies if isinstance(state, Queued) else (),
        waited_for=s.waited_for,
        state=state,
    )


def accepted(draft: Draft, s: stimuli.Accepted) -> None:
    """Queue a run that is not in the fleet yet."""
    if draft.find(s.run_id) is None:
        run = _new_run(s, Queued())
        waited_for = run.waited_for or any(
            dependent.waited_for
            for name in draft.dependents.get(run.run_id, ())
            if (dependent := draft.find(name)) is not None
        )
        run = draft.join(replace(run, waited_for=waited_for))
        dependencies.queued(draft, run, dict(s.dependency_statuses))


def adopted(draft: Draft, s: stimuli.Adopted) -> None:
    """Continue a run whose worker an earlier supervisor started."""
    running = Running(since_mono_s=draft.now)
    starting = Starting(since_mono_s=draft.now, launches_count=1)
    run = _new_run(s.about, running if s.started else starting)
    draft.put(replace(run, age_from_mono_s=draft.now))
    draft.act(WriteManifest(run.run_id))


def launch_failed(draft: Draft, s: stimuli.LaunchFailed) -> None:
    """Retry after a wait, or give up."""
    run = draft.find(s.run_id)
    if run is None or not isinstance(run.state, Starting):
        return
    count = run.state.launches_count
    wait_s = draft.rules.launch.wait_s(count, draft.jitter) if s.transient else None
    if wait_s is None:
        _judge(draft, run, status="failed", detail="spawn-failed", reason=s.reason)
        return
    queued = Queued(not_before_mono_s=draft.now + wait_s, launches_count=count)
    draft.move(run, Move.RETRY_LAUNCH, queued)


def placement_withdrawn(draft: Draft, s: stimuli.PlacementWithdrawn) -> None:
    """Queue the run again; the launch does not count."""
    run = draft.find(s.run_id)
    if run is not None and isinstance(run.state, Starting):
        draft.move(run, Move.RETRY_LAUNCH, Queued(launches_count=run.state.launches_count - 1))


def caller_gone(draft: Draft, s: stimuli.CallerGone) -> None:
    """No process can host the run: it ends without having begun."""
    run = draft.find(s.run_id)
    if run is None:
        return
    if isinstance(run.state, Queued | Starting):
        reason = "the 'supervisor run' that was to host it ended before the run began"
        _judge(draft, run, status="cancelled", detail="caller-gone", reason=reason)
    else:
        _lose_worker(draft, run, "its caller is gone and had not begun it")


def started(draft: Draft, s: stimuli.Started) -> None:
    """The worker runs stages."""
    run = draft.find(s.run_id)
    if run is not None and isinstance(run.state, Starting):
        draft.move(run, Move.START, Running(since_mono_s=draft.now), age_from_mono_s=draft.now)


def worker_on_host(draft: Draft, s: stimuli.WorkerOnHost) -> None:
    """The worker is on another host: only a missing heartbeat can show that it is gone."""
    run = draft.find(s.run_id)
    if run is not None and isinstance(run.state, LIVE) and run.host != s.host:
        draft.change(run, host=s.host)


def journal_advanced(draft: Draft, s: stimuli.JournalAdvanced) -> None:
    """The manifest is out of date."""
    run = draft.find(s.run_id)
    if run is not None and isinstance(run.state, LIVE):
        draft.act(WriteManifest(s.run_id))


def verdict_read(draft: Draft, s: stimuli.VerdictRead) -> None:
    """The first verdict ends the run; a later one changes nothing."""
    run = draft.find(s.run_id)
    if run is None or isinstance(run.state, Ended | Recorded):
        return
    draft.move(run, Move.END, Ended(status=s.status, detail=s.detail))
    dependencies.ended(draft, run.run_id, s.status)


def _judge(draft: Draft, run: Run, *, status: str, detail: str, reason: str) -> None:
    draft.move(run, Move.JUDGE, Judged(status=status, detail=detail, reason=reason))


def lose(draft: Draft, run: Run, *, status: str, detail: str, reason: str) -> Run:
    """Give up on the worker of a WATCHED run, with ``status`` to ``reason`` as the coming verdict.

    Its processes are killed for up to ``give_up_s``, and its child runs are stopped.
    """
    lost = draft.move(
        run,
        Move.LOSE,
        Clearing(since_mono_s=draft.now, status=status, detail=detail, reason=reason),
        killing=Killing(next_mono_s=draft.now, give_up_mono_s=draft.now + draft.rules.give_up_s),
    )
    for child in draft.children_of(run.run_id):
        stop(draft, child, "stopped")
    return lost


def worker_gone(draft: Draft, s: stimuli.WorkerGone) -> None:
    """No worker can finish the run: kill its leftovers, then judge."""
    run = draft.find(s.run_id)
    if run is not None:
        _lose_worker(draft, run, s.reason)


def _lose_worker(draft: Draft, run: Run, reason: str) -> None:
    match run.state:
        case Stopping(detail=detail):
            lose(draft, run, status="cancelled", detail=detail, reason=reason)
        case Starting() | Running():
            lose(draft, run, status="failed", detail="worker-lost", reason=reason)
        case _:
            return


def directory_gone(draft: Draft, s: stimuli.DirectoryGone) -> None:
    """The run's records are gone: kill its leftovers, then judge."""
    run = draft.find(s.run_id)
    if run is None:
        return
    reason = "the run's directory was deleted while it ran"
    if isinstance(run.state, WATCHED):
        lose(draft, run, status="failed", detail="run-dir-deleted", reason=reason)
    elif isinstance(run.state, Queued):
        _judge(draft, run, status="failed", detail="run-dir-deleted", reason=reason)


def heartbeats_scanned(draft: Draft, s: stimuli.HeartbeatsScanned) -> None:
    """Judge the liveness of workers; write a manifest for a heartbeat if one is due."""
    fresh_from = draft.now - draft.rules.ages.late_after_s
    for run_id in s.moved:
        run = draft.active.get(run_id)
        if run is None or not isinstance(run.state, WATCHED):
            continue
        draft.beats[run_id] = draft.now
        if draft.manifests_due.get(run_id, 0.0) <= draft.now:
            draft.act(WriteManifest(run_id))
        if run.liveness is not Liveness.FRESH or run.hung_scans_count:
            draft.change(run, liveness=Liveness.FRESH, hung_scans_count=0)
    for run_id in s.still:
        run = draft.active.get(run_id)
        if run is None or not isinstance(run.state, WATCHED):
            continue
        if draft.beats.get(run_id, run.age_from_mono_s) < fresh_from or (
            run.liveness is not Liveness.FRESH or run.hung_scans_count
        ):
            _judge_liveness(draft, run, stopped=run_id in s.stopped)


def _judge_liveness(draft: Draft, run: Run, *, stopped: bool) -> None:
    """Judge a worker whose heartbeat did not move."""
    age_s = draft.now - max(run.age_from_mono_s, draft.beats.get(run.run_id, 0.0))
    liveness = judge(age_s=age_s, stopped=stopped, ages=draft.rules.ages)
    scans_count = run.hung_scans_count + 1 if liveness is Liveness.HUNG else 0
    if liveness != run.liveness or scans_count != run.hung_scans_count:
        run = draft.change(run, liveness=liveness, hung_scans_count=scans_count)
    if scans_count < HUNG_SCANS_COUNT:
        return
    if run.host is None:
        reason = f"no heartbeat for {age_s:.0f} s although its process was not stopped"
        lose(draft, run, status="failed", detail="worker-hung", reason=reason)
        return
    # The network may be down, the host may be gone, or the worker hangs: we cannot tell which.
    _lose_worker(draft, run, f"no heartbeat from host {run.host} for {age_s:.0f} s")


def stalled(draft: Draft, _s: stimuli.Stalled) -> None:
    """The supervisor did not run: no worker is late."""
    for run in list(draft.active.values()):
        if isinstance(run.state, LIVE):
            draft.change(run, age_from_mono_s=draft.now, hung_scans_count=0)


def leftovers_killed(draft: Draft, s: stimuli.LeftoversKilled) -> None:
    """Judge when no process is left, or when killing may no longer delay the verdict."""
    run = draft.find(s.run_id)
    if run is None:
        return
    rules, state = draft.rules, run.state
    every_s = rules.leftovers_every_s
    if isinstance(state, Clearing):  # a killed process is gone at once, or after a long while
        taken_s = draft.now - state.since_mono_s
        every_s = min(rules.clear_every_s, max(rules.clear_first_s, taken_s))
    run = _kill_again(draft, run, every_s, needed=bool(s.alive_pids))
    if not isinstance(state, Clearing):
        return
    if s.alive_pids and draft.now - state.since_mono_s < rules.clear_within_s:
        return
    judged = Judged(
        status=state.status,
        detail=state.detail,
        reason=state.reason,
        leftover_pids=s.alive_pids,
    )
    draft.move(run, Move.JUDGE, judged)


def killing_failed(draft: Draft, s: stimuli.KillingFailed) -> None:
    """Try again after a wait; when the time for it is up, judge without knowing what is left."""
    run = draft.find(s.run_id)
    if run is None:
        return
    run = _kill_again(draft, run, draft.rules.leftovers_every_s, needed=True)
    if run.killing is None and isinstance(run.state, Clearing):
        reason = f"{run.state.reason}; its processes could not be searched for: {s.reason}"
        _judge(draft, run, status=run.state.status, detail=run.state.detail, reason=reason)


def _kill_again(draft: Draft, run: Run, every_s: float, *, needed: bool) -> Run:
    """Plan the next round of killing unless none is needed or the time for it is up."""
    killing = run.killing
    if killing is not None:
        goes_on = needed and draft.now < killing.give_up_mono_s
        killing = replace(killing, next_mono_s=draft.now + every_s) if goes_on else None
    return draft.change(run, killing=killing)

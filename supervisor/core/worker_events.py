"""What was seen of runs and their workers, and what it means for the run's state.

A stimulus about a run that has left the fleet, or that tells what the state already knows, changes
nothing: the shell may look twice.
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
    Move,
    Queued,
    Recorded,
    Run,
    Running,
    Starting,
    Stopping,
)
from supervisor.core.operator_requests import stop
from supervisor.core.policy.backoff import Jitter
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


def accepted(draft: Draft, s: stimuli.Accepted, _: Jitter) -> None:
    """A run is queued, unless we hold it already."""
    if draft.find(s.run_id) is None:
        run = _new_run(s, Queued())
        waited_for = run.waited_for or any(
            follower.waited_for
            for name in draft.dependents.get(run.run_id, ())
            if (follower := draft.find(name)) is not None
        )
        run = draft.join(replace(run, waited_for=waited_for))
        dependencies.queued(draft, run, dict(s.dependency_statuses))


def adopted(draft: Draft, s: stimuli.Adopted, _: Jitter) -> None:
    """A run is taken over with its worker."""
    running = Running(since_mono_s=draft.now)
    starting = Starting(since_mono_s=draft.now, launches_count=1)
    run = _new_run(s.about, running if s.started else starting)
    draft.put(replace(run, age_from_mono_s=draft.now))
    draft.act(WriteManifest(run.run_id))


def launch_failed(draft: Draft, s: stimuli.LaunchFailed, jitter: Jitter) -> None:
    """Try again in a while, or give up."""
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


def taken_back(draft: Draft, s: stimuli.PlacementWithdrawn, _: Jitter) -> None:
    """Queue it again; the launch does not count."""
    run = draft.find(s.run_id)
    if run is not None and isinstance(run.state, Starting):
        draft.move(run, Move.RETRY_LAUNCH, Queued(launches_count=run.state.launches_count - 1))


def caller_gone(draft: Draft, s: stimuli.CallerGone, _: Jitter) -> None:
    """Nobody is left to host the run: it ends without having begun."""
    run = draft.find(s.run_id)
    if run is None:
        return
    match run.state:
        case Queued() | Starting():
            reason = "the 'supervisor run' that was to host it ended before the run began"
            judged = Judged(status="cancelled", detail="caller-gone", reason=reason)
            draft.move(run, Move.JUDGE, judged)
        case _:
            _gone(draft, run, "its caller is gone and had not begun it")


def started(draft: Draft, s: stimuli.Started, _: Jitter) -> None:
    """The worker is at work."""
    run = draft.find(s.run_id)
    if run is not None and isinstance(run.state, Starting):
        draft.move(run, Move.START, Running(since_mono_s=draft.now), age_from_mono_s=draft.now)


def hosted(draft: Draft, s: stimuli.WorkerOnHost, _: Jitter) -> None:
    """The worker is on another host: only its silence can tell that it is gone."""
    run = draft.find(s.run_id)
    if run is not None and isinstance(run.state, LIVE) and run.host != s.host:
        draft.change(run, host=s.host)


def moved(draft: Draft, s: stimuli.JournalAdvanced, _: Jitter) -> None:
    """The manifest is out of date."""
    run = draft.find(s.run_id)
    if run is not None and isinstance(run.state, LIVE):
        draft.act(WriteManifest(s.run_id))


def verdict_seen(draft: Draft, s: stimuli.VerdictRead, _: Jitter) -> None:
    """The first verdict ends the run; a later one changes nothing."""
    run = draft.find(s.run_id)
    if run is None or isinstance(run.state, Ended | Recorded):
        return
    draft.move(
        run, Move.END, Ended(status=s.status, detail=s.detail), retry_mono_s=0.0, refused=None
    )
    dependencies.ended(draft, run.run_id, s.status)


def lose(draft: Draft, run: Run, *, status: str, detail: str, reason: str) -> Run:
    """Give up on a worker: what is left of the run is killed, for ``give_up_s`` at most."""
    clearing = Clearing(since_mono_s=draft.now, status=status, detail=detail, reason=reason)
    lost = draft.move(
        run,
        Move.LOSE,
        clearing,
        remains=True,
        clear_mono_s=draft.now,
        give_up_mono_s=draft.now + draft.rules.give_up_s,
    )
    _stop_children(draft, lost)
    return lost


def _stop_children(draft: Draft, run: Run) -> None:
    """Nothing that a run asked for outlives it."""
    for child in draft.children_of(run.run_id):
        stop(draft, child, "stopped")


def worker_gone(draft: Draft, s: stimuli.WorkerGone, _: Jitter) -> None:
    """Nobody can finish the run: clear up, then judge."""
    run = draft.find(s.run_id)
    if run is not None:
        _gone(draft, run, s.reason)


def _gone(draft: Draft, run: Run, reason: str) -> None:
    match run.state:
        case Stopping(detail=detail):
            lose(draft, run, status="cancelled", detail=detail, reason=reason)
        case Starting() | Running():
            lose(draft, run, status="failed", detail="worker-lost", reason=reason)
        case _:
            return


def directory_gone(draft: Draft, s: stimuli.DirectoryGone, _: Jitter) -> None:
    """The records are gone: clear up, then judge."""
    run = draft.find(s.run_id)
    if run is None:
        return
    reason = "the run's directory was deleted while it ran"
    match run.state:
        case Starting() | Running() | Stopping():
            lose(draft, run, status="failed", detail="run-dir-deleted", reason=reason)
        case Queued():
            judged = Judged(status="failed", detail="run-dir-deleted", reason=reason)
            draft.move(run, Move.JUDGE, judged)
        case _:
            return


def looked(draft: Draft, s: stimuli.HeartbeatsScanned, _: Jitter) -> None:
    """Judge how alive workers look: a quiet run costs a comparison, a beat a number."""
    fresh_from = draft.now - draft.rules.ages.late_after_s
    for run_id in s.moved:
        run = draft.active.get(run_id)
        if run is None or not isinstance(run.state, WATCHED):
            continue
        draft.beats[run_id] = draft.now
        if run.liveness is not Liveness.FRESH or run.hung_scans_count:
            draft.change(run, liveness=Liveness.FRESH, hung_scans_count=0)
    for run_id in s.still:
        run = draft.active.get(run_id)
        if run is None or not isinstance(run.state, WATCHED):
            continue
        if draft.beats.get(run_id, run.age_from_mono_s) < fresh_from or (
            run.liveness is not Liveness.FRESH or run.hung_scans_count
        ):
            _judge(draft, run, stopped=run_id in s.stopped)


def _judge(draft: Draft, run: Run, *, stopped: bool) -> None:
    """Find the word for a worker whose heartbeat did not move."""
    age_s = draft.now - max(run.age_from_mono_s, draft.beats.get(run.run_id, 0.0))
    word = judge(age_s=age_s, stopped=stopped, ages=draft.rules.ages)
    looks_count = run.hung_scans_count + 1 if word is Liveness.HUNG else 0
    if word != run.liveness or looks_count != run.hung_scans_count:
        run = draft.change(run, liveness=word, hung_scans_count=looks_count)
    if looks_count < HUNG_SCANS_COUNT:
        return
    if run.host is None:
        reason = f"no heartbeat for {age_s:.0f} s although its process was not stopped"
        lose(draft, run, status="failed", detail="worker-hung", reason=reason)
        return
    # It may be cut off, or gone with its host, or hang: who is not there cannot tell them apart.
    _gone(draft, run, f"no heartbeat from host {run.host} for {age_s:.0f} s")


def stalled(draft: Draft, _s: stimuli.Stalled, _: Jitter) -> None:
    """We slept: nobody else is late."""
    for run in list(draft.active.values()):
        if isinstance(run.state, LIVE):
            draft.change(run, age_from_mono_s=draft.now, hung_scans_count=0)


def cleared(draft: Draft, s: stimuli.LeftoversKilled, _: Jitter) -> None:
    """Judge when nothing is left, or when the time for killing is up."""
    run = draft.find(s.run_id)
    if run is None:
        return
    rules, state = draft.rules, run.state
    every_s = rules.leftovers_every_s
    if isinstance(state, Clearing):  # what was killed is gone in a moment, or in a long while
        taken_s = draft.now - state.since_mono_s
        every_s = min(rules.clear_every_s, max(rules.clear_first_s, taken_s))
    goes_on = bool(s.alive_pids) and draft.now < run.give_up_mono_s
    run = draft.change(run, remains=goes_on, clear_mono_s=draft.now + every_s)
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


def clear_failed(draft: Draft, s: stimuli.KillingFailed, _: Jitter) -> None:
    """Look again in a while; judge without knowing what is left when the time for it is up."""
    run = draft.find(s.run_id)
    if run is None:
        return
    goes_on = draft.now < run.give_up_mono_s
    run = draft.change(run, remains=goes_on, clear_mono_s=draft.now + draft.rules.leftovers_every_s)
    if goes_on or not isinstance(run.state, Clearing):
        return
    reason = f"{run.state.reason}; its processes could not be looked for: {s.reason}"
    judged = Judged(status=run.state.status, detail=run.state.detail, reason=reason)
    draft.move(run, Move.JUDGE, judged)

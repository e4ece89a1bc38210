"""Runs that an engine places or their caller hosts: placed, checked, taken back and stopped.

What an engine says is a reason to check the claim (``hosts``) and is not believed. A run that
nobody has begun waits in the engine's queue, or for its caller, and is not judged.
"""

from collections.abc import Iterable, Mapping

from supervisor.core import stimuli
from supervisor.core.fleet import Fleet, Mode
from supervisor.core.lifecycle import Run, Running
from supervisor.core.policy.liveness import Liveness
from supervisor.core.stimuli import Stimulus
from supervisor.daemon.claims import check_claim, is_local, on_claimed, remote_event
from supervisor.daemon.context import DaemonContext
from supervisor.daemon.journal_events import facts
from supervisor.launchers.agents.protocol import (
    AgentReady,
    Answer,
    Cancel,
    JobEnded,
    Note,
    Place,
    Placed,
    Refused,
)
from supervisor.launchers.placement_record import ClaimState, Placement, load_placement
from workers.records.files import is_dir
from workers.records.spec import RunSpec

_SLOT: Mapping[str, float] = {"slot": 1}


def resources_of(spec: RunSpec) -> dict[str, float]:
    """What a run takes of a host: what its pipeline says, else a slot.

    A sub-pipeline's run takes nothing, since its parent waits for it on a slot of its own.
    """
    if spec.parent_run_id is not None:
        return {}
    return dict(spec.pipeline.resources or _SLOT)


def place(context: DaemonContext, run_id: str) -> list[Stimulus]:
    """Hand in the next attempt of a run, once it is on disk that we do."""
    reader, placer = context.readers[run_id], context.placer_of(run_id)
    if placer is None:
        raise LookupError("no engine places runs")
    if not is_dir(reader.run.path):
        return [stimuli.DirectoryGone(run_id)]
    if placer is context.callers and not context.callers.is_there(run_id):
        return [stimuli.CallerGone(run_id)]
    before = context.placements.get(run_id) or load_placement(reader.run)
    placement = Placement(
        run=reader.run,
        attempt=1 if before is None else before.attempt + 1,
        launcher=placer.name,
        resources={} if placer is context.callers else resources_of(reader.spec),
    )
    placement.store()
    context.placements[run_id] = placement
    hand_in(context, placement)
    return []


def hand_in(context: DaemonContext, placement: Placement) -> None:
    """Ask the engine for an attempt, once more or for the first time."""
    placer = context.placer_of(placement.run.run_id)
    if placer is not None:
        placer.place(
            Place(
                key=placement.key,
                run_dir=placement.run.path,
                attempt=placement.attempt,
                resources=placement.resources,
            )
        )


def is_on_time(context: DaemonContext, run: Run) -> bool:
    """Tell whether a run has been begun, just runs, and beats as it should."""
    placement = context.placements[run.run_id]
    begun_and_quiet = placement.stand is ClaimState.CLAIMED and placement.owed is None
    return begun_and_quiet and type(run.state) is Running and run.liveness is Liveness.FRESH


def look(context: DaemonContext, run: Run) -> tuple[list[Stimulus], bool | None]:
    """Look once at a run that is placed.

    Returns:
        What was seen, and whether its heartbeat has moved; None where nobody has begun it.
    """
    run_id = run.run_id
    placement, reader = context.placements[run_id], context.readers[run_id]
    is_fresh = run.liveness is Liveness.FRESH
    has_moved = reader.beat_moved(sure=is_fresh)
    found: list[Stimulus] = []
    if not is_fresh or reader.has_news():
        found += facts(context, run_id)
    if placement.owed is not None:
        found += _back(context, run_id, *placement.owed)
    was_begun = placement.stand is ClaimState.CLAIMED
    if not has_moved or not was_begun:
        found += check_claim(context, run_id)
    if placement.stand is ClaimState.UNCLAIMED:
        found += _caller_gone(context, placement)
    if placement.stand is not ClaimState.CLAIMED:
        return found, None
    return found, has_moved or not was_begun


def _caller_gone(context: DaemonContext, placement: Placement) -> list[Stimulus]:
    """The caller of a run may have ended before it began the run: then nobody will."""
    run_id = placement.run.run_id
    if placement.launcher != context.callers.name or context.callers.is_there(run_id):
        return []
    try:
        if placement.take_back(context.clock):
            return [stimuli.CallerGone(run_id)]
    except OSError as error:  # the next scan tries again
        context.log.write("take_back_failed", run_id=run_id, why=str(error))
        return []
    return on_claimed(context, run_id)  # the lock is released once the claim is made


def hinted(context: DaemonContext, run_ids: Iterable[str]) -> list[Stimulus]:
    """Check the runs that their hosts gave a hint about: they have begun or ended."""
    found: list[Stimulus] = []
    for run_id in run_ids:
        if run_id in context.placements:
            found += facts(context, run_id)
            found += check_claim(context, run_id)
    return found


def heard(context: DaemonContext, answers: Iterable[Answer]) -> list[Stimulus]:
    """What an agent has said, as reasons to look."""
    found: list[Stimulus] = []
    for answer in answers:
        match answer:
            case AgentReady():
                context.log.write("engine_reached")
            case Note(text):
                context.log.write("engine_note", text=text)
                context.reporter.note(text)
            case Placed(key, job):
                context.log.write("run_placed", key=key, job=job)
            case Refused(key, why, transient):
                context.log.write("placement_refused", key=key, why=why)
                found += _done_with(context, key, why, transient)
            case JobEnded(key, why):
                context.log.write("placement_ended", key=key, why=why)
                found += _done_with(context, key, why, True)
    return found


def _done_with(context: DaemonContext, key: str, why: str, transient: bool) -> list[Stimulus]:
    """The engine has done with an attempt: it is taken back, or was begun and is looked at."""
    run_id = key.rpartition(".")[0]
    placement = context.placements.get(run_id)
    if placement is None or placement.key != key:
        return []
    found = _back(context, run_id, why, transient)
    return found or check_claim(context, run_id)


def _back(context: DaemonContext, run_id: str, why: str, transient: bool) -> list[Stimulus]:
    """Take an attempt back; nothing where somebody has begun it, or where we had already."""
    placement = context.placements[run_id]
    if placement.stand is not ClaimState.UNCLAIMED:
        placement.owed = None
        return []
    try:
        if placement.take_back(context.clock):
            placement.owed = None
            # The first where it was to start, the second where it was to end.
            return [
                stimuli.LaunchFailed(run_id, why, transient),
                stimuli.WorkerGone(run_id, "nobody had begun it"),
            ]
        placement.owed = None
        return on_claimed(context, run_id)
    except FileNotFoundError:
        return [stimuli.DirectoryGone(run_id)]
    except OSError as error:
        context.log.write("take_back_failed", run_id=run_id, why=str(error))
        placement.owed = why, transient
        return []


def withdraw(context: DaemonContext, fleet: Fleet, *, ending: bool = False) -> list[Stimulus]:
    """Take back what waits in the engine while it is paused, or while nothing more is to start.

    A sub-pipeline's run is not: its parent waits for it.

    Args:
        context: the effects and the books.
        fleet: all runs.
        ending: what runs is to end; what is queued stays so.
    """
    ending = ending or fleet.mode is Mode.DRAINING
    if not (fleet.holds or ending):
        return []
    found: list[Stimulus] = []
    for run_id, placement in context.placements.items():
        run = fleet.active.get(run_id)
        if run is None or not run.needs_slot or placement.stand is not ClaimState.UNCLAIMED:
            continue
        if ending or fleet.holds.hold(run.group):
            try:
                if placement.take_back(context.clock):
                    placer = context.placer_of(run_id)
                    if placer is not None:
                        placer.cancel(Cancel(placement.key, claimed=False))
                    found.append(stimuli.PlacementWithdrawn(run_id))
                else:
                    found += on_claimed(context, run_id)
            except OSError as error:  # the next scan tries again
                context.log.write("take_back_failed", run_id=run_id, why=str(error))
    return found


def ask_stop(context: DaemonContext, run_id: str) -> list[Stimulus]:
    """End a run: at once where nobody has begun it, else by the engine; the wish is on disk."""
    placement, placer = context.placements[run_id], context.placer_of(run_id)
    found = _back(context, run_id, "it is to end", True)
    if placer is not None and placement.owed is None:
        placer.cancel(Cancel(placement.key, placement.stand is ClaimState.CLAIMED))
    return found


def silence(context: DaemonContext, run_id: str) -> bool:
    """Before the supervisor speaks for a run: nobody else may any more.

    Returns:
        True where a worker of ours could still hold the owner lock, which is taken then.

    Raises:
        OSError: the disk refuses.
    """
    placement = context.placements.get(run_id)
    if placement is None:
        return True
    placement.silence(context.clock)
    return placement.stand is ClaimState.TAKEN_BACK or is_local(context, run_id)


def take_up(
    context: DaemonContext, placement: Placement, about: stimuli.Accepted, *, started: bool
) -> list[Stimulus] | None:
    """What a start makes of a run that an earlier supervisor had placed.

    Returns:
        What was seen; None where nothing of it stands: it is taken up like one that never was
        placed.

    Raises:
        OSError: the disk refuses to take it back.
    """
    run_id, placer = about.run_id, context.placer_of(about.run_id)
    same = placer is not None and placer.name == placement.launcher
    if placement.stand is ClaimState.UNCLAIMED and not started and not same:
        placement.take_back(context.clock)
    if placement.stand is ClaimState.TAKEN_BACK:
        return None
    context.placements[run_id] = placement
    if placement.stand is ClaimState.REVOKED:
        reason = "its worker was not heard of any more, and its claim was taken away"
        return [stimuli.Adopted(about, started=True), stimuli.WorkerGone(run_id, reason)]
    if placement.stand is ClaimState.UNCLAIMED and not started:
        hand_in(context, placement)
        return [stimuli.Adopted(about, started=False)]
    placement.stand = ClaimState.CLAIMED
    context.log.write("run_adopted", run_id=run_id)
    context.reporter.adopted(context.readers[run_id].spec)
    return [stimuli.Adopted(about, started=started), *remote_event(context, run_id)]

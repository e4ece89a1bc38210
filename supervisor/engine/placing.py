"""Runs that an engine places: handed in, looked at, stopped and silenced by their claims.

Nothing that an engine says is believed about a run; it is a reason to look. A run that nobody has
begun waits in the engine's queue and is not judged. On another host, beats and the keeper's word
tell; on ours, the owner lock and the process do, as for a worker of our own.
"""

import contextlib
import os
from collections.abc import Iterable, Mapping

from supervisor.core import stimuli
from supervisor.core.fleet import Fleet, Mode
from supervisor.core.lifecycle import Run, Running
from supervisor.core.liveness import Liveness
from supervisor.core.stimuli import Stimulus
from supervisor.edge.flock import is_flocked
from supervisor.edge.placements import Placement, Stand, load_placement
from supervisor.engine.facts import facts
from supervisor.engine.parts import Parts
from supervisor.placement.wire import (
    Answer,
    Cancel,
    JobEnded,
    Note,
    Place,
    Placed,
    Ready,
    Refused,
)
from workers.descent import Process
from workers.records.claim import WorkerEnd
from workers.records.errors import TypedError
from workers.records.files import is_dir
from workers.records.identity import Identity, is_alive, pid_namespace
from workers.records.spec import RunSpec

UNKNOWN_HOST = "of an unknown name"
_SLOT: Mapping[str, float] = {"slot": 1}


def resources_of(spec: RunSpec) -> dict[str, float]:
    """What a run takes of a host: what its pipeline says, else a slot.

    A sub-pipeline's run takes nothing, since its parent waits for it on a slot of its own.
    """
    if spec.parent_run_id is not None:
        return {}
    return dict(spec.pipeline.resources or _SLOT)


def place(parts: Parts, run_id: str) -> list[Stimulus]:
    """Hand in the next attempt of a run, once it is on disk that we do."""
    reader, placer = parts.readers[run_id], parts.placer
    if placer is None:
        raise LookupError("no engine places runs")
    if not is_dir(reader.run.path):
        return [stimuli.DirectoryGone(run_id)]
    before = parts.placements.get(run_id) or load_placement(reader.run)
    placement = Placement(
        run=reader.run,
        attempt=1 if before is None else before.attempt + 1,
        launcher=placer.name,
        resources=resources_of(reader.spec),
    )
    placement.store()
    parts.placements[run_id] = placement
    hand_in(parts, placement)
    return []


def hand_in(parts: Parts, placement: Placement) -> None:
    """Ask the engine for an attempt, once more or for the first time."""
    if parts.placer is not None:
        parts.placer.place(
            Place(
                key=placement.key,
                run_dir=placement.run.path,
                attempt=placement.attempt,
                resources=placement.resources,
            )
        )


def who(parts: Parts, run_id: str) -> Identity | None:
    """Who has begun a run: as its claim says, else its journal, which may be seen earlier."""
    claim = parts.placements[run_id].claim
    found = None if claim is None else claim.who
    return found or parts.readers[run_id].worker


def is_here(parts: Parts, run_id: str) -> bool:
    """Tell whether a placed run was begun on our host, since it booted, and its pids are ours."""
    found, mine, claim = who(parts, run_id), parts.mine, parts.placements[run_id].claim
    if claim is not None and claim.pid_ns is not None and claim.pid_ns != pid_namespace():
        return False  # a container of this machine, by whatever name
    return found is not None and (found.host, found.boot_id) == (mine.host, mine.boot_id)


def is_on_time(parts: Parts, run: Run) -> bool:
    """Tell whether a run has been begun, just runs, and beats as it should."""
    placement = parts.placements[run.run_id]
    begun_and_quiet = placement.stand is Stand.CLAIMED and placement.owed is None
    return begun_and_quiet and type(run.state) is Running and run.liveness is Liveness.FRESH


def look(parts: Parts, run: Run) -> tuple[list[Stimulus], bool | None]:
    """Look once at a run that is placed.

    Returns:
        What was seen, and whether its heartbeat has moved; None where nobody has begun it.
    """
    run_id = run.run_id
    placement, reader = parts.placements[run_id], parts.readers[run_id]
    is_fresh = run.liveness is Liveness.FRESH
    has_moved = reader.beat_moved(sure=is_fresh)
    found: list[Stimulus] = []
    if not is_fresh or reader.has_news():
        found += facts(parts, run_id)
    if placement.owed is not None:
        found += _back(parts, run_id, *placement.owed)
    was_begun = placement.stand is Stand.CLAIMED
    if not has_moved or not was_begun:
        found += _claimed(parts, run_id)
    if placement.stand is not Stand.CLAIMED:
        return found, None
    return found, has_moved or not was_begun


def _claimed(parts: Parts, run_id: str) -> list[Stimulus]:
    """Look at the claim: who has begun, and whether that one has ended."""
    placement, reader = parts.placements[run_id], parts.readers[run_id]
    was_begun = placement.stand is Stand.CLAIMED
    claim = placement.look()
    if reader.worker is not None and placement.stand is Stand.UNCLAIMED:
        placement.stand = Stand.CLAIMED  # a folder may show the claim later than the journal
    if placement.stand is not Stand.CLAIMED:
        return []
    found = [] if was_begun else begun(parts, run_id)
    if reader.verdict is not None:
        return found
    reason = None
    if claim is not None and claim.ended is not None:
        reason = _how(claim.ended, who(parts, run_id))
    elif is_here(parts, run_id) and not _lives_here(parts, run_id):
        reason = "its worker is gone"
    if reason is not None:
        _ask_anew(reader.run.journal)
        found += facts(parts, run_id)
        if reader.verdict is None:
            found.append(stimuli.WorkerGone(run_id, reason))
    return found


def begun(parts: Parts, run_id: str) -> list[Stimulus]:
    """Somebody has begun a run."""
    placement = parts.placements[run_id]
    if parts.placer is not None:
        parts.placer.begun(placement.key)
    found = who(parts, run_id)
    host = UNKNOWN_HOST if found is None else found.host
    parts.log.write("run_claimed", run_id=run_id, attempt=placement.attempt, host=host)
    parts.reporter.launched(parts.readers[run_id].spec)
    return [] if is_here(parts, run_id) else [stimuli.Hosted(run_id, host)]


def _lives_here(parts: Parts, run_id: str) -> bool:
    """Tell whether a run's keeper or worker is alive on our host; a lock may not be had there."""
    reader, claim = parts.readers[run_id], parts.placements[run_id].claim
    keeper = None if claim is None else claim.who
    if keeper is not None and is_alive(keeper):
        return True
    try:
        if is_flocked(reader.run.owner):
            return True
    except (OSError, TypedError) as error:  # the process itself is the witness that is left
        parts.log.write("owner_unreadable", run_id=run_id, why=str(error))
    return reader.worker is not None and is_alive(reader.worker)


def _how(end: WorkerEnd, keeper: Identity | None) -> str:
    host = "" if keeper is None else f" on {keeper.host}"
    if end.signal is not None:
        hint = " (out of memory?)" if end.signal == "SIGKILL" else ""
        return f"its worker was killed by {end.signal}{host}{hint}"
    return f"its worker exited with {end.exit_code}{host} and without a verdict"


def heard(parts: Parts, answers: Iterable[Answer]) -> list[Stimulus]:
    """What an agent has said, as reasons to look."""
    found: list[Stimulus] = []
    for answer in answers:
        match answer:
            case Ready():
                parts.log.write("engine_reached")
            case Note(text):
                parts.log.write("engine_note", text=text)
                parts.reporter.note(text)
            case Placed(key, job):
                parts.log.write("run_placed", key=key, job=job)
            case Refused(key, why, transient):
                parts.log.write("placement_refused", key=key, why=why)
                found += _done_with(parts, key, why, transient)
            case JobEnded(key, why):
                parts.log.write("placement_ended", key=key, why=why)
                found += _done_with(parts, key, why, True)
    return found


def _done_with(parts: Parts, key: str, why: str, transient: bool) -> list[Stimulus]:
    """The engine has done with an attempt: it is taken back, or was begun and is looked at."""
    run_id = key.rpartition(".")[0]
    placement = parts.placements.get(run_id)
    if placement is None or placement.key != key:
        return []
    found = _back(parts, run_id, why, transient)
    return found or _claimed(parts, run_id)


def _back(parts: Parts, run_id: str, why: str, transient: bool) -> list[Stimulus]:
    """Take an attempt back; nothing where somebody has begun it, or where we had already."""
    placement = parts.placements[run_id]
    if placement.stand is not Stand.UNCLAIMED:
        placement.owed = None
        return []
    try:
        if placement.take_back(parts.clock):
            placement.owed = None
            # The first where it was to start, the second where it was to end.
            return [
                stimuli.LaunchFailed(run_id, why, transient),
                stimuli.WorkerGone(run_id, "nobody had begun it"),
            ]
        placement.owed = None
        return begun(parts, run_id)
    except FileNotFoundError:
        return [stimuli.DirectoryGone(run_id)]
    except OSError as error:
        parts.log.write("take_back_failed", run_id=run_id, why=str(error))
        placement.owed = why, transient
        return []


def withdraw(parts: Parts, fleet: Fleet, *, ending: bool = False) -> list[Stimulus]:
    """Take back what waits in the engine while it is paused, or while nothing more is to start.

    A sub-pipeline's run is not: its parent waits for it.

    Args:
        parts: the effects and the books.
        fleet: all runs.
        ending: what runs is to end; what is queued stays so.
    """
    ending = ending or fleet.mode is Mode.DRAINING
    if parts.placer is None or not (fleet.holds or ending):
        return []
    found: list[Stimulus] = []
    for run_id, placement in parts.placements.items():
        run = fleet.active.get(run_id)
        if run is None or not run.needs_slot or placement.stand is not Stand.UNCLAIMED:
            continue
        if ending or fleet.holds.hold(run.group):
            try:
                if placement.take_back(parts.clock):
                    parts.placer.cancel(Cancel(placement.key, claimed=False))
                    found.append(stimuli.TakenBack(run_id))
                else:
                    found += begun(parts, run_id)
            except OSError as error:  # the next scan tries again
                parts.log.write("take_back_failed", run_id=run_id, why=str(error))
    return found


def ask_stop(parts: Parts, run_id: str) -> list[Stimulus]:
    """End a run: at once where nobody has begun it, else by the engine; the wish is on disk."""
    placement, placer = parts.placements[run_id], parts.placer
    found = _back(parts, run_id, "it is to end", True)
    if placer is not None and placement.owed is None:
        placer.cancel(Cancel(placement.key, placement.stand is Stand.CLAIMED))
    return found


def silence(parts: Parts, run_id: str) -> bool:
    """Before the supervisor speaks for a run: nobody else may any more.

    Returns:
        True where a worker of ours could still hold the owner lock, which is taken then.

    Raises:
        OSError: the disk refuses.
    """
    placement = parts.placements.get(run_id)
    if placement is None:
        return True
    placement.silence(parts.clock)
    return placement.stand is Stand.TAKEN_BACK or is_here(parts, run_id)


def working_here(parts: Parts, *, but: str) -> set[Process]:
    """Keepers and workers of placed runs on our host: an agent that dies leaves them to us.

    Args:
        parts: the effects and the books.
        but: the run whose own are not asked for.
    """
    found: set[Process] = set()
    for run_id, placement in parts.placements.items():
        claim = placement.look()
        if run_id != but and is_here(parts, run_id):
            known = (None if claim is None else claim.who, parts.readers[run_id].worker)
            found |= {(one.pid, one.start_ticks) for one in known if one is not None}
    return found


def left_over(parts: Parts, run_id: str) -> tuple[int, ...]:
    """What is left of a run on another host, as its keeper told."""
    claim = parts.placements[run_id].claim
    return () if claim is None or claim.ended is None else claim.ended.leftover_pids


def take_up(
    parts: Parts, placement: Placement, about: stimuli.Accepted, *, started: bool
) -> list[Stimulus] | None:
    """What a start makes of a run that an earlier supervisor had placed.

    Returns:
        What was seen; None where nothing of it stands: it is taken up like one that never was
        placed.

    Raises:
        OSError: the disk refuses to take it back.
    """
    run_id, placer = about.run_id, parts.placer
    same = placer is not None and placer.name == placement.launcher
    if placement.stand is Stand.UNCLAIMED and not started and not same:
        placement.take_back(parts.clock)
    if placement.stand is Stand.TAKEN_BACK:
        return None
    parts.placements[run_id] = placement
    if placement.stand is Stand.REVOKED:
        reason = "its worker was not heard of any more, and its claim was taken away"
        return [stimuli.Adopted(about, started=True), stimuli.WorkerGone(run_id, reason)]
    if placement.stand is Stand.UNCLAIMED and not started:
        hand_in(parts, placement)
        return [stimuli.Adopted(about, started=False)]
    placement.stand = Stand.CLAIMED
    parts.log.write("run_adopted", run_id=run_id)
    found = who(parts, run_id)
    host = UNKNOWN_HOST if found is None else found.host
    parts.reporter.adopted(parts.readers[run_id].spec)
    far = [] if is_here(parts, run_id) else [stimuli.Hosted(run_id, host)]
    return [stimuli.Adopted(about, started=started), *far]


def _ask_anew(path: str) -> None:
    """Make a shared folder ask its server how large a file is: it does when one is opened."""
    with contextlib.suppress(OSError):
        os.close(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC))

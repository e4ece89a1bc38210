"""Who has begun a placed run, on which host, and whether that one is still at work.

Nothing that an engine says is believed about a run. On another host, beats and the keeper's word
tell; on ours, the owner lock and the process do, as for a worker of our own.
"""

import contextlib
import os
from typing import Final

from supervisor.core import stimuli
from supervisor.core.stimuli import Stimulus
from supervisor.daemon.context import DaemonContext
from supervisor.daemon.journal_events import facts
from supervisor.daemon.process_table import living_pidfd
from supervisor.launchers.placement_record import ClaimState
from supervisor.launchers.spawner import LaunchedWorker
from workers.processes.tree import Process
from workers.records.claim import WorkerEnd
from workers.records.flock import is_flocked
from workers.records.identity import Identity, is_alive, pid_namespace
from workers.records.placement import CALLER
from workers.records.typed_errors import CannotBeginError, TypedError

CANNOT_BEGIN: Final = "its worker could not begin; .runs/.supervisor/workers.log says why"


def claim_owner(context: DaemonContext, run_id: str) -> Identity | None:
    """Who has begun a run: as its claim says, else its journal, which may be seen earlier."""
    claim = context.placements[run_id].claim
    found = None if claim is None else claim.who
    return found or context.readers[run_id].worker


def is_local(context: DaemonContext, run_id: str) -> bool:
    """Tell whether a placed run was begun on our host, since it booted, and its pids are ours."""
    found, mine, claim = (
        claim_owner(context, run_id),
        context.mine,
        context.placements[run_id].claim,
    )
    if claim is not None and claim.pid_ns is not None and claim.pid_ns != pid_namespace():
        return False  # a container of this machine, by whatever name
    return found is not None and (found.host, found.boot_id) == (mine.host, mine.boot_id)


def on_claimed(context: DaemonContext, run_id: str) -> list[Stimulus]:
    """Somebody has begun a run."""
    placement, placer = context.placements[run_id], context.placer_of(run_id)
    if placer is not None:
        placer.begun(placement.key)
    host = _host(context, run_id)
    context.log.write("run_claimed", run_id=run_id, attempt=placement.attempt, host=host)
    context.reporter.launched(context.readers[run_id].spec)
    return remote_event(context, run_id)


def remote_event(context: DaemonContext, run_id: str) -> list[Stimulus]:
    """That a run which was begun is on another host; nothing where it is on ours."""
    return (
        [] if is_local(context, run_id) else [stimuli.WorkerOnHost(run_id, _host(context, run_id))]
    )


def _host(context: DaemonContext, run_id: str) -> str:
    found = claim_owner(context, run_id)
    return "of an unknown name" if found is None else found.host


def check_claim(context: DaemonContext, run_id: str) -> list[Stimulus]:
    """Look at the claim: who has begun, and whether that one has ended."""
    placement, reader = context.placements[run_id], context.readers[run_id]
    was_begun = placement.stand is ClaimState.CLAIMED
    claim = placement.look()
    if reader.worker is not None and placement.stand is ClaimState.UNCLAIMED:
        placement.stand = ClaimState.CLAIMED  # a folder may show the claim later than the journal
    if placement.stand is not ClaimState.CLAIMED:
        return []
    found = [] if was_begun else on_claimed(context, run_id)
    if placement.launcher == CALLER:
        _watch_keeper(context, run_id)
    if reader.verdict is not None:
        return found
    ended = None if claim is None else claim.ended
    could_begin = ended is None or ended.exit_code != CannotBeginError.exit_code
    if not could_begin and reader.worker is None:
        return [*found, stimuli.LaunchFailed(run_id, CANNOT_BEGIN, transient=False)]
    reason = None
    if ended is not None:
        reason = _how(ended, claim_owner(context, run_id))
    elif is_local(context, run_id) and not _lives_here(context, run_id):
        reason = "its worker is gone"
    if reason is not None:
        _ask_anew(reader.run.journal)
        found += facts(context, run_id)
        if reader.verdict is None:
            found.append(stimuli.WorkerGone(run_id, reason))
    return found


def _watch_keeper(context: DaemonContext, run_id: str) -> None:
    """Watch the keeper of a run that its caller hosts, so that its end is seen at once."""
    claim = context.placements[run_id].claim
    if run_id in context.workers or claim is None or claim.who is None or claim.ended is not None:
        return
    pidfd = living_pidfd(claim.who) if is_local(context, run_id) else None
    if pidfd is not None:
        context.workers[run_id] = LaunchedWorker(
            pid=claim.who.pid, start_ticks=claim.who.start_ticks, pidfd=pidfd
        )


def _lives_here(context: DaemonContext, run_id: str) -> bool:
    """Tell whether a run's keeper or worker is alive on our host; a lock may not be had there."""
    reader, claim = context.readers[run_id], context.placements[run_id].claim
    keeper = None if claim is None else claim.who
    if keeper is not None and is_alive(keeper):
        return True
    try:
        if is_flocked(reader.run.owner):
            return True
    except (OSError, TypedError) as error:  # the process itself is the witness that is left
        context.log.write("owner_unreadable", run_id=run_id, why=str(error))
    return reader.worker is not None and is_alive(reader.worker)


def _how(end: WorkerEnd, keeper: Identity | None) -> str:
    host = "" if keeper is None else f" on {keeper.host}"
    if end.signal is not None:
        hint = " (out of memory?)" if end.signal == "SIGKILL" else ""
        return f"its worker was killed by {end.signal}{host}{hint}"
    return f"its worker exited with {end.exit_code}{host} and without a verdict"


def _ask_anew(path: str) -> None:
    """Make a shared folder ask its server how large a file is: it does when one is opened."""
    with contextlib.suppress(OSError):
        os.close(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC))


def working_here(context: DaemonContext, *, but: str) -> set[Process]:
    """Keepers and workers of placed runs on our host: an agent that dies leaves them to us.

    Args:
        context: the effects and the books.
        but: the run whose own are not asked for.
    """
    found: set[Process] = set()
    for run_id, placement in context.placements.items():
        claim = placement.claim or placement.look()  # who it is does not change
        if run_id != but and is_local(context, run_id):
            known = (None if claim is None else claim.who, context.readers[run_id].worker)
            found |= {(one.pid, one.start_ticks) for one in known if one is not None}
    return found


def left_over(context: DaemonContext, run_id: str) -> tuple[int, ...]:
    """What is left of a run on another host, as its keeper told."""
    claim = context.placements[run_id].claim
    return () if claim is None or claim.ended is None else claim.ended.leftover_pids

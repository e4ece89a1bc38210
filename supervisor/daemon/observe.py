"""Looking at live runs: at the scan, and when a worker exits.

Looks become stimuli; nothing is decided here.
"""

import signal
from collections.abc import Iterable
from typing import Final

from supervisor.core import stimuli
from supervisor.core.fleet import Fleet
from supervisor.core.lifecycle import LOOKED_AT, Run
from supervisor.core.policy.liveness import Liveness
from supervisor.core.stimuli import Stimulus
from supervisor.daemon import claims
from supervisor.daemon import placements as placing
from supervisor.daemon.context import DaemonContext
from supervisor.daemon.journal_events import facts
from supervisor.daemon.process_table import is_stopped
from workers.records.flock import is_flocked
from workers.records.identity import is_alive, signal_name
from workers.records.typed_errors import CannotBeginError, TypedError

_LAST_WORDS: Final = "its last words are in .runs/.supervisor/workers.log"


def scan(context: DaemonContext, fleet: Fleet, *, turn: int, per_beat: int) -> list[Stimulus]:
    """Look once at every live run: new facts, the beat, and whether it still has an owner.

    A run that is on time and whose journal is as it was costs a glance; its heartbeat is looked at
    once in the time of a beat. A directory that was moved away, in which the worker goes on, is
    missed by the next manifest. A placed run that is on time is looked at once in the time of a
    beat: each look asks the folder's server, and what ends sooner, its engine tells.

    Args:
        context: the effects and the books.
        fleet: all runs.
        turn: the number of this scan.
        per_beat: how many scans there are from one beat to the next, 1 at least.
    """
    news: list[Stimulus] = []
    losses: list[Stimulus] = []
    moved: list[str] = []
    still: list[str] = []
    stopped: list[str] = []
    readers, workers, glance = context.readers, context.workers, context.glance
    placements = context.placements
    for run_id in _worth_a_look(context, fleet, glance.share(turn, per_beat)):
        run = fleet.active.get(run_id)
        if run is None or type(run.state) not in LOOKED_AT:
            continue
        if run_id in placements:
            if (run.number + turn) % per_beat and placing.is_on_time(context, run):
                continue
            seen, beat = placing.look(context, run)
            news += seen
            if beat is not None:
                (moved if beat else still).append(run_id)
            if beat is False and _is_stopped_here(context, run):
                stopped.append(run_id)
            continue
        reader, is_fresh = readers[run_id], run.liveness is Liveness.FRESH
        has_moved = reader.beat_moved(sure=is_fresh)
        (moved if has_moved else still).append(run_id)
        if not is_fresh or reader.has_news():
            news += facts(context, run_id)
            reader.note_in(glance)
        elif run_id not in glance.names():
            reader.note_in(glance)
        # Only who is late is asked for its state: that costs fifty times what a look does.
        if not has_moved and not is_fresh:
            worker = context.worker_identity(run_id)
            if worker is not None and is_stopped(worker.pid):
                stopped.append(run_id)
        if run_id not in workers:
            losses += gone(context, run_id, "its worker is gone")
    looks = stimuli.HeartbeatsScanned(
        moved=tuple(moved), still=tuple(still), stopped=frozenset(stopped)
    )
    return [*news, looks, *losses]


def _worth_a_look(context: DaemonContext, fleet: Fleet, due: list[str]) -> Iterable[str]:
    """Who is not just running and on time, has news, cannot be glanced at, or is due, once each."""
    glance, active = context.glance, fleet.active.keys()
    unwatched = (active - glance.names()) | (active - context.workers.keys())
    return dict.fromkeys((*fleet.busy, *glance.changed(), *sorted(unwatched), *due))


def _is_stopped_here(context: DaemonContext, run: Run) -> bool:
    if run.liveness is Liveness.FRESH or not claims.is_local(context, run.run_id):
        return False
    worker = context.worker_identity(run.run_id)
    return worker is not None and is_stopped(worker.pid)


def gone(context: DaemonContext, run_id: str, reason: str) -> list[Stimulus]:
    """If the owner lock is free, read the journal once more: a verdict, or a lost worker."""
    reader = context.readers[run_id]
    if reader.verdict is not None:
        return []
    try:
        if is_flocked(reader.run.owner):
            return []
    except (OSError, TypedError) as error:  # the process itself is the witness that is left
        context.log.write("owner_unreadable", run_id=run_id, why=str(error))
        worker = context.worker_identity(run_id)
        if worker is not None and is_alive(worker):
            return []
    found = facts(context, run_id)
    if reader.verdict is None:
        found.append(stimuli.WorkerGone(run_id, reason))
    return found


def exited(context: DaemonContext, run_id: str) -> list[Stimulus]:
    """A worker that we watched has exited: reap it and look at what it left."""
    worker = context.workers.pop(run_id)
    code = worker.reap()
    if run_id not in context.readers:
        return []
    found = facts(context, run_id)
    if run_id in context.placements:  # it was the keeper; its claim tells how the worker ended
        return [*found, *claims.check_claim(context, run_id)]
    if code == CannotBeginError.exit_code and context.readers[run_id].worker is None:
        reason = f"its worker could not begin; {_LAST_WORDS}"
        return [*found, stimuli.LaunchFailed(run_id, reason, transient=False)]
    return [*found, *gone(context, run_id, _how(code))]


def _how(code: int | None) -> str:
    if code is None:
        return "its worker ended without a verdict"
    if code >= 0:
        return f"its worker exited with {code} and without a verdict; {_LAST_WORDS}"
    name = signal_name(-code)
    hint = " (out of memory?)" if code == -signal.SIGKILL else ""
    return f"its worker was killed by {name}{hint}"

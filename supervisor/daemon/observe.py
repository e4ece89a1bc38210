"""Observing live runs: at the scan, and when a worker exits.

Observations become stimuli; nothing is decided here.
"""

from collections.abc import Iterable

from supervisor.core import stimuli
from supervisor.core.fleet import Fleet
from supervisor.core.lifecycle import WATCHED
from supervisor.core.stimuli import Stimulus
from supervisor.daemon.context import DaemonContext


def scan(context: DaemonContext, fleet: Fleet, *, turn: int, scans_per_beat: int) -> list[Stimulus]:
    """Observe every live run once: new facts, the heartbeat, and whether it still has an owner.

    A run that is on time and whose journal has not grown costs one lseek; its heartbeat is read
    once per heartbeat interval. A directory that was moved away, in which the worker goes on, is
    missed by the next manifest.

    Args:
        context: the effects and the live runs.
        fleet: all runs.
        turn: the number of this scan.
        scans_per_beat: the scans from one heartbeat to the next, 1 at least.
    """
    news: list[Stimulus] = []
    losses: list[Stimulus] = []
    moved: list[str] = []
    still: list[str] = []
    stopped: list[str] = []
    for run_id in _to_observe(context, fleet, context.glance.share(turn, scans_per_beat)):
        run = fleet.active.get(run_id)
        if run is None or type(run.state) not in WATCHED:
            continue
        handle = context.runs[run_id]
        seen = handle.launcher.observe(
            handle, run, is_due=(run.number + turn) % scans_per_beat == 0
        )
        news += seen.news
        losses += seen.losses
        if seen.beat is not None:
            (moved if seen.beat else still).append(run_id)
        if seen.is_stopped:
            stopped.append(run_id)
    heartbeats = stimuli.HeartbeatsScanned(
        moved=tuple(moved), still=tuple(still), stopped=frozenset(stopped)
    )
    return [*news, heartbeats, *losses]


def _to_observe(context: DaemonContext, fleet: Fleet, due: list[str]) -> Iterable[str]:
    """Each run once that is late or changing, has news, cannot be polled by size, or is due."""
    glance, active = context.glance, fleet.active.keys()
    unwatched = (active - glance.names()) | (active - context.workers().keys())
    return dict.fromkeys((*fleet.busy, *glance.changed(), *sorted(unwatched), *due))


def exited(context: DaemonContext, run_id: str) -> list[Stimulus]:
    """A process that we watched has exited: reap it and read what it left."""
    worker = context.exiting.pop(run_id, None)
    handle = context.runs.get(run_id)
    if worker is not None:
        worker.reap()
    if worker is not None or handle is None or handle.worker is None:
        return []
    worker, handle.worker = handle.worker, None
    return handle.launcher.exited(handle, worker.reap())

"""Clearing up after a run: what is left of it is killed, and nothing that is somebody else's."""

from supervisor.daemon import claims
from supervisor.daemon.context import DaemonContext
from supervisor.daemon.leftovers import LostRun, kill_leftovers


def clear(parts: DaemonContext, run_id: str) -> tuple[int, ...]:
    """Kill, once, whatever is left of a run; its worker too, where that lives.

    On another host nothing is looked at or signalled: there its keeper has killed what it could.

    Returns:
        The pids that were found; empty means that nothing is left.

    Raises:
        OSError: no descriptor is left to look with.
    """
    if run_id in parts.placements and not claims.is_local(parts, run_id):
        return claims.left_over(parts, run_id)
    worker = parts.worker_identity(run_id)
    lost = LostRun(
        run_id=run_id,
        root=parts.layout.root,
        root_id=parts.lease.root_id,
        worker=None if worker is None else (worker.pid, worker.start_ticks),
        is_below_us=run_id in parts.started,
        since_ticks=0 if worker is None else worker.start_ticks,
    )
    others = {worker.process for other, worker in parts.workers.items() if other != run_id}
    return kill_leftovers(
        lost,
        others | claims.working_here(parts, but=run_id),
        parts.strangers | {*parts.launcher.helpers(), *parts.agents(), *parts.hooks.processes()},
    )

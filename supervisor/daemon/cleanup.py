"""Clearing up after a run: what is left of it is killed, and nothing that is somebody else's."""

from supervisor.daemon import claims
from supervisor.daemon.context import DaemonContext
from supervisor.daemon.leftovers import LostRun, kill_leftovers


def clear(context: DaemonContext, run_id: str) -> tuple[int, ...]:
    """Kill, once, whatever is left of a run; its worker too, where that lives.

    On another host nothing is looked at or signalled: there its keeper has killed what it could.

    Returns:
        The pids that were found; empty means that nothing is left.

    Raises:
        OSError: no descriptor is left to look with.
    """
    if run_id in context.placements and not claims.is_local(context, run_id):
        return claims.left_over(context, run_id)
    worker = context.worker_identity(run_id)
    lost = LostRun(
        run_id=run_id,
        root=context.layout.root,
        root_id=context.lease.root_id,
        worker=None if worker is None else (worker.pid, worker.start_ticks),
        is_below_us=run_id in context.started,
        since_ticks=0 if worker is None else worker.start_ticks,
    )
    others = {worker.process for other, worker in context.workers.items() if other != run_id}
    return kill_leftovers(
        lost,
        others | claims.working_here(context, but=run_id),
        context.strangers
        | {*context.launcher.helpers(), *context.agents(), *context.hooks.processes()},
    )

"""Acting only as the supervisor of the root: looked at before every turn.

A lease whose file alone was deleted is taken again, with what else of ours was deleted beside it. A
root that is gone ends what runs: nothing of it can be put on record, and nobody would adopt it.
"""

import contextlib
import time
from typing import Final

from supervisor.core.fleet import Fleet
from supervisor.core.lifecycle import LIVE
from supervisor.daemon.context import DaemonContext
from supervisor.errors import RootGoneError
from workers.records.typed_errors import TypedError

POLL_S: Final = 0.05
END_ALL_S: Final = 10.0  # what SIGKILL has not ended by then waits for the kernel, not for us


def ensure_lease(context: DaemonContext, fleet: Fleet) -> None:
    """Make sure that the claim stands.

    Args:
        context: the effects and the books.
        fleet: what runs.

    Raises:
        RootGoneError: ``.runs`` is gone; what ran was ended, and named to the operator.
        LeaseHeldError: another supervisor serves the root; our workers are left to it.
    """
    try:
        if context.lease.keep():
            return
    except RootGoneError:
        _end_all(context, [r.run_id for r in fleet.active.values() if isinstance(r.state, LIVE)])
        raise
    with contextlib.suppress(OSError, TypedError):  # what is missing then is made when it is needed
        context.intake.make_dirs()
        context.intake.mark([handle.spec for handle in context.runs.values()])
    context.log.write("lease_taken_again")


def _end_all(context: DaemonContext, running: list[str]) -> None:
    until = context.clock.mono_s() + END_ALL_S
    while context.clock.mono_s() < until:
        handles = [context.runs[run_id] for run_id in running]
        alive = [handle.launcher.clean_up(handle) for handle in handles]
        if not any(alive):
            break
        time.sleep(POLL_S)
    for run_id in running:
        context.reporter.note(f"{run_id} was ended; its result is not on disk")

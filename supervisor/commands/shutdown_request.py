"""Ending the supervisor of a root by a request, and waiting until it is gone."""

import time
from typing import Final

from supervisor.commands.unserved import Waiting
from supervisor.report.text.output import print_error
from supervisor.store.lease_reader import serving_supervisor
from workers.records.flock import is_flocked
from workers.records.identity import Identity, is_alive
from workers.records.layout import Layout
from workers.records.request import Request, RequestKind, publish

POLL_S: Final = 0.05


def end_supervisor(layout: Layout, kind: RequestKind, *, leave_running: bool = False) -> int:
    """Ask the supervisor that serves a root to leave, and return when it is gone.

    Args:
        layout: the root.
        kind: STOP or DRAIN.
        leave_running: leave the workers at work.

    Returns:
        The exit code: 0, or 75 where one is just starting or ending.
    """
    holder = serving_supervisor(layout)
    if holder is None:
        if is_flocked(layout.lease_lock):
            print_error(f"a supervisor of {layout.root} is just starting or ending; try again")
            return 75
        print_error(f"no supervisor serves {layout.root}")
        return 0
    publish(layout, Request(kind=kind, supervisor=holder, leave_running=leave_running))
    waiting = Waiting(layout)
    while _serves(layout, holder) or is_alive(holder):
        waiting.explain()
        time.sleep(POLL_S)
    return 0


def _serves(layout: Layout, holder: Identity) -> bool:
    """Tell whether a supervisor holds the lease still.

    Its lock is the proof, wherever that process is: on a renamed host, in another container, or
    where /proc hides it. Between the end of its lease's record and its own there is no name.
    """
    if not is_flocked(layout.lease_lock):
        return False
    now = serving_supervisor(layout)
    return now is None or now == holder

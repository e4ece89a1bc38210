"""Ending the supervisor of a root by a request, and waiting until it is gone."""

import time
from typing import Final

from supervisor.edge.flock import is_flocked
from supervisor.edge.holder import serving
from supervisor.report.text import say
from workers.records.identity import is_alive
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
    holder = serving(layout)
    if holder is None:
        if is_flocked(layout.lease_lock):
            say(f"a supervisor of {layout.root} is just starting or ending; try again")
            return 75
        say(f"no supervisor serves {layout.root}")
        return 0
    publish(layout, Request(kind=kind, supervisor=holder, leave_running=leave_running))
    while is_alive(holder) and serving(layout) == holder:
        time.sleep(POLL_S)
    return 0

"""Requests to the supervisor of a root, and waiting until they are in effect."""

import os
import time
from typing import Final

from supervisor.commands.wait_notice import WaitNotice
from supervisor.config.load import settings_of
from supervisor.config.references import unknown_group
from supervisor.errors import RequestRejectedError, UsageError
from supervisor.report.read.run_records import current_pauses
from supervisor.report.text.output import print_error
from supervisor.store.lease_reader import serving_supervisor
from workers.records.flock import is_flocked
from workers.records.identity import Identity, is_alive
from workers.records.layout import Layout
from workers.records.request import Request, RequestKind, now_text, publish

POLL_S: Final = 0.05
BUSY: Final = 75  # docs/reference/exit-codes.md


def check_group(layout: Layout, config: str | None, group: str | None) -> None:
    """Check that a group is configured or paused.

    Raises:
        UsageError: it is neither.
        ConfigError: the settings are wrong.
    """
    if group is None:
        return
    known = {*settings_of(layout, config).groups, *dict(current_pauses(layout).groups)}
    if group not in known:
        raise UsageError(reason=unknown_group(group, known))


def change_pause(layout: Layout, kind: RequestKind, group: str | None) -> None:
    """Pause or resume, and return when it is in effect: at once if no supervisor is running.

    Raises:
        RequestRejectedError: the supervisor rejected the request.
        OSError: the request could not be written.
    """
    path = publish(layout, Request(kind=kind, group=group, at=now_text()))
    rejected = os.path.join(layout.rejected, os.path.basename(path))
    notice = WaitNotice(layout)
    while os.path.lexists(path) and is_flocked(layout.lease_lock):
        notice.update()
        time.sleep(POLL_S)
    if os.path.lexists(rejected):
        raise RequestRejectedError(path=rejected, log=layout.log)


def end_supervisor(layout: Layout, kind: RequestKind, *, leave_running: bool = False) -> int:
    """Ask the supervisor of a root to exit, and return when it has.

    Args:
        layout: the root.
        kind: STOP or DRAIN.
        leave_running: keep the workers running.

    Returns:
        The exit status: 0, or 75 if a supervisor is starting or exiting.
    """
    holder = serving_supervisor(layout)
    if holder is None:
        if is_flocked(layout.lease_lock):
            print_error(f"a supervisor of {layout.root} is starting or exiting; try again")
            return BUSY
        print_error(f"no supervisor serves {layout.root}")
        return 0
    publish(layout, Request(kind=kind, supervisor=holder, leave_running=leave_running))
    notice = WaitNotice(layout)
    while _holds_lease(layout, holder) or is_alive(holder):
        notice.update()
        time.sleep(POLL_S)
    return 0


def _holds_lease(layout: Layout, holder: Identity) -> bool:
    """Whether a supervisor still holds the lease.

    The lock is the proof, also of a process on a renamed host, in another container, or hidden by
    /proc. A supervisor removes lease.json before it exits.
    """
    if not is_flocked(layout.lease_lock):
        return False
    now = serving_supervisor(layout)
    return now is None or now == holder

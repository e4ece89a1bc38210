"""Pausing and resuming: a durable request, and waiting until it is in force."""

import os
import time
from typing import Final

from supervisor.commands.unserved import Waiting
from supervisor.config.load import settings_of
from supervisor.config.references import unknown_group
from supervisor.errors import RequestRejectedError, UsageError
from supervisor.report.read.run_records import current_pauses
from workers.records.flock import is_flocked
from workers.records.layout import Layout
from workers.records.request import Request, RequestKind, now_text, publish

POLL_S: Final = 0.05


def check_group(layout: Layout, config: str | None, group: str) -> None:
    """UsageError where a group is neither declared nor paused, ConfigError as the settings'."""
    groups = settings_of(layout, config).groups
    known = {*groups, *dict(current_pauses(layout).groups)}
    if group not in known:
        raise UsageError(reason=unknown_group(group, known))


def change(layout: Layout, kind: RequestKind, group: str | None) -> None:
    """Pause or resume, and return when it is so; where no supervisor is up, it is so at once.

    Raises:
        RequestRejectedError: the supervisor would not take the request.
        OSError: it could not be handed in.
    """
    path = publish(layout, Request(kind=kind, group=group, at=now_text()))
    aside = os.path.join(layout.rejected, os.path.basename(path))
    waiting = Waiting(layout)
    while os.path.lexists(path) and is_flocked(layout.lease_lock):
        waiting.explain()
        time.sleep(POLL_S)
    if os.path.lexists(aside):
        raise RequestRejectedError(path=aside, log=layout.log)

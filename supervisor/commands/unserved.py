"""Why a command waits: the supervisor that serves the root does nothing, and who can change that.

Every command that waits for the supervisor asks a ``Waiting`` at each poll. It is silent for the
first seconds, in which a busy machine may well be slow, and says each reason once.
"""

import time
from typing import Final

from supervisor.report.text.output import print_error
from supervisor.store.lease_reader import serving_supervisor
from workers.records.flock import is_flocked
from workers.records.identity import is_alive
from workers.records.layout import Layout
from workers.records.proc import proc_stat
from workers.records.typed_errors import TypedError

FIRST_S: Final = 3.0
EVERY_S: Final = 1.0


def why_unserved(layout: Layout) -> str | None:
    """Why nobody serves the root, and what to do about it.

    Returns:
        None if a supervisor serves it, or one on another host or in another container, which
        cannot be seen from here.
    """
    try:
        if not is_flocked(layout.lease_lock):
            return f"no supervisor serves {layout.root}; 'supervisor start' starts one"
        holder = serving_supervisor(layout)
        found = proc_stat(holder.pid) if holder is not None and is_alive(holder) else None
    except (OSError, TypedError):
        return None
    if holder is None or found is None or not found.is_stopped:
        return None
    return f"the supervisor (pid {holder.pid}) is stopped; 'kill -CONT {holder.pid}' continues it"


class Waiting:
    """Says on stderr why a command still waits.

    Args:
        layout: the root.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._due_mono_s = time.monotonic() + FIRST_S
        self._said: str | None = None

    def explain(self) -> None:
        """Check once a second, and say a reason that was not said before."""
        now = time.monotonic()
        if now < self._due_mono_s:
            return
        self._due_mono_s = now + EVERY_S
        reason = why_unserved(self._layout)
        if reason is not None and reason != self._said:
            print_error(f"waiting: {reason}")
        self._said = reason

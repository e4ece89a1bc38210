"""What a command does between two polls: tell why it still waits, and stop if stdout is closed."""

import select
import sys
import time
from typing import Final

from supervisor.report.text.output import print_error
from supervisor.store.lease_reader import serving_supervisor
from workers.records.flock import is_flocked
from workers.records.identity import is_alive
from workers.records.layout import Layout
from workers.records.proc import proc_stat
from workers.records.typed_errors import TypedError

FOLLOW_S: Final = 0.25  # as often as a worker updates its logs
_FIRST_S: Final = 3.0  # a busy machine may be slow
_EVERY_S: Final = 1.0


def sleep_while_stdout_open(seconds: float) -> None:
    """Sleep for up to some seconds.

    Raises:
        BrokenPipeError: the reader of stdout closed it.
    """
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)  # errors and hang-ups only
    if poll.poll(seconds * 1000):
        raise BrokenPipeError


class WaitNotice:
    """Prints on stderr why a command still waits for the supervisor of a root.

    Args:
        layout: the root.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._due_mono_s = time.monotonic() + _FIRST_S
        self._printed: str | None = None

    def update(self) -> None:
        """Check once a second, from 3 s on, and print the reason if it has changed."""
        now = time.monotonic()
        if now < self._due_mono_s:
            return
        self._due_mono_s = now + _EVERY_S
        reason = _unserved_reason(self._layout)
        if reason is not None and reason != self._printed:
            print_error(f"waiting: {reason}")
        self._printed = reason


def _unserved_reason(layout: Layout) -> str | None:
    """Why no supervisor serves the root, and what to do.

    Returns:
        None if one serves it, here or on another host or in another container.
    """
    try:
        if not is_flocked(layout.lease_lock):
            return f"no supervisor serves {layout.root}; 'supervisor start' starts one"
        holder = serving_supervisor(layout)
        process = proc_stat(holder.pid) if holder is not None and is_alive(holder) else None
    except (OSError, TypedError):
        return None
    if holder is None or process is None or not process.is_stopped:
        return None
    return f"the supervisor (pid {holder.pid}) is stopped; 'kill -CONT {holder.pid}' continues it"

"""When the supervisor exits: the signals that ask for it, and the conditions to wait for."""

import contextlib
import os
import signal
from collections import deque
from dataclasses import replace
from types import FrameType
from typing import Final

from supervisor.core.fleet import Fleet, Mode
from supervisor.core.lifecycle import Recorded
from supervisor.daemon.context import DaemonContext
from workers.records.dataclass import dataclass

HANDLED: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
SHUTDOWN_TRIES_S: Final = 3.0  # a disk that refuses a result at shutdown is retried three times


class Signals:
    """Collects signals while it is entered, for the loop; restores the old handlers afterwards.

    Attributes:
        fd: readable when a signal has arrived; call ``take`` then.
        ended_by: the first TERM or INT, None if there was none.
    """

    def __init__(self) -> None:
        self.fd, self._wakeup_w = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._arrived: deque[int] = deque()
        self._old_handlers: dict[int, object] = {}
        self.ended_by: int | None = None

    def __enter__(self) -> "Signals":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, it would discard exit statuses
        self._old_wakeup = signal.set_wakeup_fd(self._wakeup_w, warn_on_full_buffer=False)
        for number in HANDLED:
            self._old_handlers[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._old_handlers.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # as signal() returned it
        signal.set_wakeup_fd(self._old_wakeup)
        os.close(self.fd)
        os.close(self._wakeup_w)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._arrived.append(number)

    def take(self) -> list[int]:
        """The signals since the last call, in order."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.fd, 4096)
        taken = []
        while self._arrived:
            taken.append(self._arrived.popleft())
        if self.ended_by is None:
            self.ended_by = next((n for n in taken if n != signal.SIGHUP), None)
        return taken


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitCondition:
    """When the supervisor may exit.

    Attributes:
        until_done: exit when nothing is left to do; otherwise only on request.
        owed_wait_s: how long to wait for what the disk or a lock refuses when all else is done.
    """

    until_done: bool
    owed_wait_s: float


class ExitPolicy:
    """Decides at each turn whether to exit.

    Args:
        context: the effects and the live runs.
        condition: when to exit.

    Attributes:
        at_once: a request said to exit and leave the workers running.
    """

    def __init__(self, context: DaemonContext, condition: ExitCondition) -> None:
        self._context = context
        self._condition = condition
        self._owed_since: float | None = None
        self._has_reported_paused = False
        self.at_once = False

    def change(self, *, owed_wait_s: float) -> None:
        """Put a new setting in force."""
        self._condition = replace(self._condition, owed_wait_s=owed_wait_s)

    def is_time(self, fleet: Fleet, *, has_request: bool) -> bool:
        """Tell whether to exit now; reports once that paused runs prevent it."""
        if self.at_once:
            return True
        is_exiting = self._condition.until_done or fleet.mode is not Mode.SERVING
        if not is_exiting or not fleet.waits_for_disk_only():
            self._owed_since = None
            return False
        if fleet.has_more_to_start():
            self._report_paused(fleet)
            return False
        if not fleet.active and not has_request:
            return not self._context.workers()
        return self._has_waited(fleet, has_request=has_request)

    def _has_waited(self, fleet: Fleet, *, has_request: bool) -> bool:
        """Tell whether refused writes were waited for long enough; all else is done."""
        now = self._context.clock.mono_s()
        if self._owed_since is None:
            self._owed_since = now
        is_refused = bool(fleet.unwritten())
        owed = any(isinstance(r.state, Recorded) and r.state.owed for r in fleet.active.values())
        wait_s = SHUTDOWN_TRIES_S if is_refused else 0.0
        if fleet.mode is Mode.SERVING:
            wait_s = self._condition.owed_wait_s
        return (owed or is_refused or has_request) and now - self._owed_since >= wait_s

    def _report_paused(self, fleet: Fleet) -> None:
        count = 0 if fleet.active else fleet.paused_count()
        if count and not self._has_reported_paused:
            runs = "1 run is" if count == 1 else f"{count} runs are"
            self._context.reporter.note(f"{runs} paused; 'supervisor resume' starts them")
        self._has_reported_paused = count > 0

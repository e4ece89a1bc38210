"""Signals become entries in a list and a ring of a bell; the loop acts on them later."""

import contextlib
import os
import signal
from collections import deque
from types import FrameType
from typing import Final

HANDLED: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Signals:
    """Collects signals while it is entered; restores what was there before.

    Attributes:
        fd: readable when a signal came; call ``take`` then.
        ended_by: the first TERM or INT, None while there was none.
    """

    def __init__(self) -> None:
        self.fd, self._bell = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._came: deque[int] = deque()
        self._before: dict[int, object] = {}
        self.ended_by: int | None = None

    def __enter__(self) -> "Signals":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, it would cost us exit statuses
        self._wakeup = signal.set_wakeup_fd(self._bell, warn_on_full_buffer=False)
        for number in HANDLED:
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # what signal() gave us
        signal.set_wakeup_fd(self._wakeup)
        os.close(self.fd)
        os.close(self._bell)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._came.append(number)

    def take(self) -> list[int]:
        """The signals that came since the last call, in order."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.fd, 4096)
        came = []
        while self._came:
            came.append(self._came.popleft())
        if self.ended_by is None:
            self.ended_by = next((n for n in came if n != signal.SIGHUP), None)
        return came

"""What may end a run from outside: SIGTERM, SIGINT, or the file cancel.json in its directory.

Handlers only note and ring a bell; the loop looks later. They belong to the process, so a zygote
sets them once for all that it forks; they tell whoever is ``install``-ed. The file carries the
status_detail of the coming verdict and works where no signal reaches; it is looked for at every
beat. So is the claim of a worker that was placed: where it has been taken away, the run is to end
too, and nothing of it is told any more.
"""

import contextlib
import os
import signal
from types import FrameType
from typing import Final

from workers.processes.spawn import PYTHON_IGNORES
from workers.records.files import ClaimFile, read_object
from workers.records.proc import read_small
from workers.records.typed_errors import TypedError

# Whoever starts us blocks these until we have our handlers; Control.install unblocks them.
STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
DEFAULT_DETAIL: Final = "stopped"
_DETAIL_LIMIT_CHARS: Final = 200  # as long as an id and its words can be


class Control:
    """Knows whether the run is to end.

    Args:
        cancel_path: the file.
        claim: our claim; None for a worker that a supervisor of this host has started.

    Attributes:
        bell_fd: readable when something happened: a signal, a child's end, a wish to stop.
        detail: the status_detail of the verdict once the run is to end, else None.
        stop_count: how often somebody told us to stop by a signal.
    """

    def __init__(self, cancel_path: str, claim: ClaimFile | None = None) -> None:
        self._cancel_path = cancel_path
        self._claim = claim
        self._fenced = False
        self._is_told = False
        self.bell_fd, self._ring_fd = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self.detail: str | None = None
        self.stop_count = 0

    def install(self) -> None:
        """Hear the signals of this process; whatever it was started with, none is blocked.

        The supervisor starts us with them blocked, so that one which comes earlier waits for this.
        ``set_handlers`` must have been called, here or in the process that forked us.
        """
        _installed.append(self)
        signal.set_wakeup_fd(self._ring_fd, warn_on_full_buffer=False)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())

    def retire(self) -> None:
        """Everything is said: from now on a signal must not spoil how this process ends."""
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        _installed.remove(self)

    def note(self) -> None:
        """Somebody told us to stop by a signal, which has rung the bell."""
        self._is_told = True
        self.stop_count += 1

    @property
    def is_placed(self) -> bool:
        """An engine has started us, on whatever host."""
        return self._claim is not None

    def on_beat(self) -> None:
        """Called by the pulse: ring if somebody left the file, or took our claim away."""
        told = os.access(self._cancel_path, os.F_OK)
        if self._claim is not None and not told:
            told = self.is_fenced()
        if told and self.detail is None:
            self._is_told = True
            with contextlib.suppress(BlockingIOError):
                os.write(self._ring_fd, b"!")

    def is_fenced(self) -> bool:
        """Tell whether our claim was taken away: somebody else speaks for the run now."""
        if self._claim is not None and not self._fenced:
            self._fenced = self._claim.is_gone()
        return self._fenced

    def look(self) -> str | None:
        """Quieten the bell and tell the detail if the run is to end."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self.bell_fd, 4096):
                pass
        if self._is_told and self.detail is None:
            self.detail = self._read_detail()
        return self.detail

    def _read_detail(self) -> str:
        try:
            detail = read_object(self._cancel_path).get("detail")
        except (OSError, TypedError):
            return DEFAULT_DETAIL
        return (
            detail[:_DETAIL_LIMIT_CHARS] if isinstance(detail, str) and detail else DEFAULT_DETAIL
        )


_installed: Final[list[Control]] = []  # one at most: signals are the process's


def set_handlers() -> None:
    """Give this process, and all that it forks, a worker's dispositions.

    SIGHUP gets a handler that does nothing: ignoring it would be inherited by stages. What our
    starter ignored otherwise is given its default disposition, for the same reason.
    """
    signal.signal(signal.SIGTERM, _note)
    signal.signal(signal.SIGINT, _note)
    signal.signal(signal.SIGHUP, _do_nothing)
    signal.signal(signal.SIGCHLD, _do_nothing)
    for number in _ignored():
        # glibc keeps 32 and 33 for itself, ignores them in what it spawns, and lets nobody else
        if number not in PYTHON_IGNORES and number in signal.valid_signals():
            signal.signal(number, signal.SIG_DFL)


def _note(_number: int, _frame: FrameType | None) -> None:
    for control in _installed:
        control.note()


def _do_nothing(_number: int, _frame: FrameType | None) -> None:
    pass


def _ignored() -> list[int]:
    """The signals that this process ignores; asked of the kernel at once, not one by one."""
    status = read_small("/proc/self/status")
    mask = int(status.partition(b"\nSigIgn:")[2].split(None, 1)[0], 16)
    return [bit + 1 for bit in range(mask.bit_length()) if mask >> bit & 1]

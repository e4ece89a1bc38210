"""Requests to end a run: SIGTERM, SIGINT, or the file cancel.json in its directory.

A handler only sets a flag and wakes the scheduler. Handlers belong to the process, so a zygote sets
them once for all its forks; they notify the installed ``Control``. The file contains the
status_detail of the verdict and works where no signal arrives; each heartbeat checks for it. It
also checks the claim of a placed worker: if the claim was revoked, the run ends and writes nothing
more.
"""

import contextlib
import os
import signal
from types import FrameType
from typing import Final

from workers.processes.spawn import PYTHON_IGNORES
from workers.records.claim import ClaimFile
from workers.records.files import read_object
from workers.records.proc import read_small
from workers.records.typed_errors import TypedError

# Our parent blocks these until our handlers are set; Control.install unblocks them.
STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
DEFAULT_DETAIL: Final = "stopped"
_DETAIL_LIMIT_CHARS: Final = 200  # the longest possible detail with an id


class Control:
    """Whether the run must end.

    Args:
        cancel_path: the run's cancel.json.
        claim: our claim; None for a worker that a supervisor of this host started.

    Attributes:
        wakeup_r: readable after a signal, the end of a child, or a request to end.
        detail: the status_detail of the verdict once the run must end, else None.
        stop_count: number of stop signals so far.
    """

    def __init__(self, cancel_path: str, claim: ClaimFile | None = None) -> None:
        self._cancel_path = cancel_path
        self._claim = claim
        self._fenced = False
        self._must_end = False
        self.wakeup_r, self._wakeup_w = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self.detail: str | None = None
        self.stop_count = 0

    def install(self) -> None:
        """Receive the signals of this process, and unblock all of them.

        The supervisor starts us with signals blocked, so an early one is delivered now.
        ``set_handlers`` must have been called, here or in the process that forked us.
        """
        _installed.append(self)
        signal.set_wakeup_fd(self._wakeup_w, warn_on_full_buffer=False)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())

    def uninstall(self) -> None:
        """Block stop signals: the verdict is written, and the exit code must not change."""
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        _installed.remove(self)

    def on_stop_signal(self) -> None:
        """Called by the signal handler; the signal has written to ``wakeup_r``."""
        self._must_end = True
        self.stop_count += 1

    @property
    def is_placed(self) -> bool:
        """Whether something other than a supervisor of this host started us."""
        return self._claim is not None

    def on_beat(self) -> None:
        """Called with each heartbeat: check for cancel.json and for our claim."""
        if self.detail is None and (os.access(self._cancel_path, os.F_OK) or self.is_fenced()):
            self._must_end = True
            with contextlib.suppress(BlockingIOError):
                os.write(self._wakeup_w, b"!")

    def is_fenced(self) -> bool:
        """Whether our claim was revoked, so that we must not write to the run any more."""
        if self._claim is not None and not self._fenced:
            self._fenced = self._claim.is_gone()
        return self._fenced

    def check(self) -> str | None:
        """Clear ``wakeup_r`` and return ``detail``, now set if the run must end."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self.wakeup_r, 4096):
                pass
        if self._must_end and self.detail is None:
            self.detail = self._read_detail()
        return self.detail

    def _read_detail(self) -> str:
        with contextlib.suppress(OSError, TypedError):
            detail = read_object(self._cancel_path).get("detail")
            if isinstance(detail, str) and detail:
                return detail[:_DETAIL_LIMIT_CHARS]
        return DEFAULT_DETAIL


_installed: Final[list[Control]] = []  # at most one: signals belong to the process


def set_handlers() -> None:
    """Set the signal dispositions of a worker in this process and all its forks.

    SIGHUP gets a handler that does nothing, because stages would inherit an ignored signal. Signals
    that our parent ignored get their default disposition for the same reason.
    """
    signal.signal(signal.SIGTERM, _on_stop_signal)
    signal.signal(signal.SIGINT, _on_stop_signal)
    signal.signal(signal.SIGHUP, _do_nothing)
    signal.signal(signal.SIGCHLD, _do_nothing)
    for number in _ignored():
        # glibc reserves 32 and 33, ignores them in what it spawns, and refuses changes
        if number not in PYTHON_IGNORES and number in signal.valid_signals():
            signal.signal(number, signal.SIG_DFL)


def _on_stop_signal(_number: int, _frame: FrameType | None) -> None:
    for control in _installed:
        control.on_stop_signal()


def _do_nothing(_number: int, _frame: FrameType | None) -> None:
    pass


def _ignored() -> list[int]:
    """The signals that this process ignores; one read of /proc instead of a call per signal."""
    status = read_small("/proc/self/status")
    mask = int(status.partition(b"\nSigIgn:")[2].split(None, 1)[0], 16)
    return [bit + 1 for bit in range(mask.bit_length()) if mask >> bit & 1]

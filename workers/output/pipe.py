"""The reading end of a stage's stream, which copies it into the log."""

import array
import contextlib
import fcntl
import functools
import os
import termios
import time
from typing import Final

from workers.output.capture import BoundedLog

_WIDE_BYTES: Final = 1 << 20  # the kernel's default limit for a pipe (pipe-max-size)
_SKIP_LEAST_BYTES: Final = 1 << 17  # for fewer bytes a read costs no more
_FLOOD_BYTES: Final = 1 << 19  # half of a wide pipe: it fills again while other streams are served
_FILL_S: Final = 0.0005  # measured: a shorter wait costs more wakeups, a longer one stops the stage
_SKIPS_COUNT: Final = 8  # before other streams are served: 4 ms


@functools.lru_cache(maxsize=1)
def _null_fd() -> int:
    return os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)


class Pipe:
    """One stream of a stage.

    Args:
        log: the stream's log.

    Attributes:
        read_fd: the descriptor to poll; -1 once it is closed.
        write_fd: the stage's end; close it after the start.
        ended: the writing end is closed in all processes.
        refreshed_mono_s: when the log's end was last brought up to date.
    """

    def __init__(self, log: BoundedLog) -> None:
        self.log = log
        self.read_fd, self.write_fd = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self.read_fd, False)
        # So that a burst does not block the stage. If the user's pipe budget is used up, the
        # default of 64 KiB is enough.
        with contextlib.suppress(OSError):
            fcntl.fcntl(self.write_fd, fcntl.F_SETPIPE_SZ, _WIDE_BYTES)
        self._splices = hasattr(os, "splice")  # Linux
        self._available = array.array("i", [0])
        self.ended = False
        self.refreshed_mono_s = time.monotonic()

    def pump(self, buffer: memoryview) -> int:
        """Read some output, through the shared buffer; returns the number of bytes."""
        if self.ended:
            return 0
        if skipped := self._skip():
            return skipped
        room = self.log.room()
        try:
            size = os.readv(self.read_fd, [buffer] if room is None else room)
        except BlockingIOError:
            return 0
        if size == 0:
            self.ended = True
        elif room is None:
            self.log.feed(buffer[:size])
        else:
            self.log.read_into_room(size)
        return size

    def _skip(self) -> int:
        """Let the kernel discard bytes that belong neither to the log's head nor to its tail.

        Returns:
            The number of bytes; 0 if there are too few, or the platform does not support it.
        """
        window = self.log.window_bytes
        if window is None or not self._splices:
            return 0
        skipped = 0
        for _ in range(_SKIPS_COUNT):
            fcntl.ioctl(self.read_fd, termios.FIONREAD, self._available)
            middle = self._available[0] - window
            if middle < _SKIP_LEAST_BYTES:
                break
            try:
                size = os.splice(self.read_fd, _null_fd(), middle)
            except OSError:
                self._splices = False
                break
            self.log.skip(size)
            skipped += size
            if size < _FLOOD_BYTES:
                break
            time.sleep(_FILL_S)
        return skipped

    def refresh(self, now: float, every_s: float) -> None:
        """Bring the log's end up to date if that is due."""
        if self.log.dirty and now - self.refreshed_mono_s >= every_s:
            self.refreshed_mono_s = now
            self.log.refresh()

    def close_write(self) -> None:
        """Close our copy of the writing end."""
        if self.write_fd >= 0:
            os.close(self.write_fd)
            self.write_fd = -1

    def close(self) -> None:
        """Close both ends and the log."""
        self.close_write()
        if self.read_fd >= 0:
            os.close(self.read_fd)
            self.read_fd = -1
        self.log.close()

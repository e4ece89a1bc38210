"""A standard stream that never waits: a reader that does not read loses only its own lines.

What the reader does not take waits in memory, whole texts in order, up to a limit; later texts are
dropped. A pipe or terminal is opened again, so that O_NONBLOCK applies to our writes only: the flag
belongs to the open file, which the shell and our other processes share.
"""

import contextlib
import io
import os
import select
import stat
import time
from collections import deque
from typing import Final, TextIO

BACKLOG_LIMIT_BYTES: Final = 1 << 20  # the lines of about 5,000 finished runs
_PIECE_BYTES: Final = select.PIPE_BUF  # a stream that is ready for writing takes this much at once


class Outlet(io.TextIOBase):
    """Writes texts to stdout or stderr as far as they take them, and keeps the rest for later.

    Attributes:
        dropped_count: dropped texts.
    """

    def __init__(self, stream: TextIO) -> None:
        self._encoding = stream.encoding or "utf-8"
        self._isatty = stream.isatty()
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._is_own, self._fd, self._never_blocks = _open_again(stream.fileno())
        self.dropped_count = 0

    @property
    def encoding(self) -> str:  # type: ignore[override]  # the base class has a mere attribute
        """As the stream's."""
        return self._encoding

    def isatty(self) -> bool:
        """Check whether it is a terminal."""
        return self._isatty

    def size(self) -> tuple[int, int]:
        """Columns and rows of the terminal, as they are now; 80 and 24 if it has no size."""
        try:
            terminal = os.get_terminal_size(self._fd)
        except OSError:
            return 80, 24
        return terminal.columns or 80, terminal.lines or 24

    @property
    def is_idle(self) -> bool:
        """The reader has taken everything."""
        self._push()
        return not self._waiting

    def write(self, text: str) -> int:
        """Write a text whole and in order, or drop and count it."""
        data = text.encode(self._encoding, "backslashreplace")
        if self._waiting_bytes + len(data) > BACKLOG_LIMIT_BYTES:
            self._push()
        if self._waiting_bytes + len(data) > BACKLOG_LIMIT_BYTES:
            self.dropped_count += 1
        elif data:
            self._waiting.append(data)
            self._waiting_bytes += len(data)
            self._push()
        return len(text)

    def settle(self, patience_s: float) -> None:
        """Wait for the reader up to ``patience_s`` seconds, then drop the rest."""
        until = time.monotonic() + patience_s
        while not self.is_idle and (left_s := until - time.monotonic()) > 0:
            select.select([], [self._fd], [], min(left_s, 0.05))
        self.dropped_count += len(self._waiting)
        self._waiting.clear()
        self._waiting_bytes = 0

    def close(self) -> None:
        """Close our own descriptor."""
        if self._is_own:
            self._is_own = False
            os.close(self._fd)
        super().close()

    def _push(self) -> None:
        """Write as much as the reader takes now."""
        while self._waiting:
            data = self._waiting[0]
            if not self._never_blocks:
                if not select.select([], [self._fd], [], 0)[1]:
                    return
                data = data[:_PIECE_BYTES]
            try:
                size = os.write(self._fd, data)
            except BlockingIOError:
                return
            except OSError:  # no reader will ever take it
                self._waiting_bytes -= len(self._waiting.popleft())
                self.dropped_count += 1
                continue
            self._waiting_bytes -= size
            rest = self._waiting.popleft()[size:]
            if rest:
                self._waiting.appendleft(rest)


def _open_again(fd: int) -> tuple[bool, int, bool]:
    """Open a stream again, so that writing to it never blocks.

    Returns:
        Whether the descriptor is ours to close, the descriptor, and whether every write to it
        returns at once.
    """
    kind = os.fstat(fd).st_mode
    if stat.S_ISREG(kind):
        return False, fd, True
    if stat.S_ISCHR(kind) or stat.S_ISFIFO(kind):
        with contextlib.suppress(OSError):  # another user's: each write is preceded by a poll
            flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
            return True, os.open(f"/proc/self/fd/{fd}", flags), True
    return False, fd, False

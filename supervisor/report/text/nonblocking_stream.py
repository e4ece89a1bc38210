"""A standard stream that is never waited for: a reader that does not read costs only its lines.

What the reader does not take waits here, whole lines in order, up to a limit; what comes then is
left out. A pipe or a terminal is opened anew, so that only our own writes do not wait: the flag
belongs to an open file, which the shell and our other processes share.
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
    """Writes texts to a stream as far as it takes them, and keeps the rest for later.

    Args:
        stream: stdout or stderr.

    Attributes:
        dropped_count: texts that were left out.
    """

    def __init__(self, stream: TextIO) -> None:
        self._encoding = stream.encoding or "utf-8"
        self._isatty = stream.isatty()
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._opened, self._fd, self._ready = _open_anew(stream.fileno())
        self.dropped_count = 0

    @property
    def encoding(self) -> str:  # type: ignore[override]  # the base class has a mere attribute
        """As the stream's."""
        return self._encoding

    def isatty(self) -> bool:
        """Tell whether it is a terminal."""
        return self._isatty

    def size(self) -> tuple[int, int]:
        """Columns and rows of the terminal, as they are now; 80 and 24 where it does not say."""
        try:
            found = os.get_terminal_size(self._fd)
        except OSError:
            return 80, 24
        return found.columns or 80, found.lines or 24

    @property
    def is_idle(self) -> bool:
        """Everything that was written is with the reader."""
        self._push()
        return not self._waiting

    def write(self, text: str) -> int:
        """Take a text: it is written whole and in its turn, or left out and counted."""
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
        """Give the reader so many seconds to take the rest; what is left then is left out."""
        until = time.monotonic() + patience_s
        while not self.is_idle and (left_s := until - time.monotonic()) > 0:
            select.select([], [self._fd], [], min(left_s, 0.05))
        self.dropped_count += len(self._waiting)
        self._waiting.clear()
        self._waiting_bytes = 0

    def close(self) -> None:
        """Close what was opened anew."""
        if self._opened:
            self._opened = False
            os.close(self._fd)
        super().close()

    def _push(self) -> None:
        """Write as much as the reader takes now."""
        while self._waiting and self._takes():
            data = self._waiting[0]
            try:
                size = os.write(self._fd, data if self._ready else data[:_PIECE_BYTES])
            except BlockingIOError:
                return
            except OSError:  # nobody will ever read it
                self._waiting.popleft()
                self._waiting_bytes -= len(data)
                self.dropped_count += 1
                continue
            self._waiting_bytes -= size
            if size == len(data):
                self._waiting.popleft()
            else:
                self._waiting[0] = data[size:]

    def _takes(self) -> bool:
        return self._ready or bool(select.select([], [self._fd], [], 0)[1])


def _open_anew(fd: int) -> tuple[bool, int, bool]:
    """A descriptor of our own, where there can be one, that never waits.

    Returns:
        Whether it is ours to close, the descriptor, and whether any write to it returns at once.
    """
    kind = os.fstat(fd).st_mode
    if stat.S_ISREG(kind):
        return False, fd, True
    if stat.S_ISCHR(kind) or stat.S_ISFIFO(kind):
        with contextlib.suppress(OSError):  # another user's: then we look before each write
            flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
            return True, os.open(f"/proc/self/fd/{fd}", flags), True
    return False, fd, False

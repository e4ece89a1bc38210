""".heartbeat: one instant per line, newest last; ``tail -f`` follows it, ``tail -n1`` reads it.

Every line has 25 bytes. Before the file reaches 4,096 bytes it starts again in place: the new line
is written at offset 0, then the file is truncated to it. So it never needs a second disk block, and
continues on a full disk. Nothing is flushed: a heartbeat is liveness, not history.
"""

import os
from typing import Final

from workers.records.clock import utc_text
from workers.records.files import open_regular, read_from
from workers.records.limits import HEARTBEAT_FILE_LIMIT_BYTES, HEARTBEAT_LINE_BYTES

_MINUTE_CHARS: Final = len("2025-10-31T22:56:")
_LAST_OFFSET: Final = HEARTBEAT_FILE_LIMIT_BYTES - HEARTBEAT_LINE_BYTES


class HeartbeatWriter:
    """Appends heartbeats. Only the worker creates one.

    Args:
        path: the file; it is created if it is missing.
    """

    def __init__(self, path: str) -> None:
        self._fd = open_regular(path, os.O_WRONLY | os.O_CREAT)
        size = os.fstat(self._fd).st_size
        self._offset = size - size % HEARTBEAT_LINE_BYTES
        self._minute = -1
        self._text = b""

    def beat(self, epoch_s: float) -> None:
        """Write one line; raises OSError if the system refuses, and the next call tries again."""
        minute, millis = divmod(int(epoch_s * 1000), 60_000)
        if minute != self._minute:
            self._minute, self._text = minute, utc_text(minute * 60)[:_MINUTE_CHARS].encode()
        line = b"%b%02d.%03dZ\n" % (self._text, *divmod(millis, 1000))
        if self._offset > _LAST_OFFSET:
            os.pwrite(self._fd, line, 0)
            os.ftruncate(self._fd, len(line))
            self._offset = len(line)
            return
        os.pwrite(self._fd, line, self._offset)
        self._offset += len(line)

    def send(self) -> None:
        """Ask the kernel to write its buffer now, without waiting.

        A client of a network file system buffers what is written to an open file for up to 30 s
        (vm.dirty_expire_centisecs) before its server, and thus other hosts, can see it.
        """
        os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_DONTNEED)

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


def last_beat(path: str) -> str | None:
    """The newest whole line; None if there is none or no file."""
    try:
        fd = open_regular(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        return newest_beat(fd)
    finally:
        os.close(fd)


def newest_beat(fd: int) -> str | None:
    """The newest whole line of an open heartbeat file; None if there is none."""
    data = read_from(fd, 0, 2 * HEARTBEAT_FILE_LIMIT_BYTES)
    lines = data[: data.rfind(b"\n") + 1].splitlines()
    return lines[-1].decode("ascii", "replace") if lines else None

"""Captured output: the first half and the last half of a bounded file, and exact counts.

While a stage runs its log can be read: the head is appended as it comes, the end is refreshed in
place when it changed. Memory is bounded too: head and tail of one stream, whatever the stage
prints. A log that cannot be written never stops the stage: it is written anew at the end.
"""

import contextlib
import os
import time
from typing import Final

from workers.masking import Mask
from workers.records.files import FILE_MODE

_MARK: Final = b"[supervisor: %d bytes dropped]\n"
_MARK_LIMIT_BYTES: Final = (
    len(_MARK % 10**19) + 1
)  # with a newline before it, if the head lacks one


class BoundedLog:
    """Captures one stream.

    Args:
        path: the log; an older one is overwritten.
        limit_bytes: of the file, at least 256; half of it for the head.
        mask: what hides secrets, None where there are none.

    Attributes:
        seen_bytes: what the stage wrote.
        kept_bytes: how much of it stands in the file after ``close``.
        error: why the file could not be written, None where it could.
    """

    def __init__(self, path: str, limit_bytes: int, mask: Mask | None) -> None:
        self._path = path
        self._limit = limit_bytes
        self._head_limit = limit_bytes // 2
        self._tail_limit = limit_bytes - self._head_limit
        self._mask = mask
        self._head = bytearray()
        self._tail = bytearray()
        self._total = 0
        self._written = 0
        self._size = 0
        self._fd: int | None = None
        self.dirty = False
        self.seen_bytes = 0
        self.kept_bytes = 0
        self.error: str | None = None
        self._open()

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            self._fd = os.open(self._path, flags, FILE_MODE)
        except OSError as error:
            self.error = f"{self._path}: {error.strerror}"

    def feed(self, data: bytes | memoryview) -> None:
        """Take some output."""
        self.seen_bytes += len(data)
        self._store(data if self._mask is None else self._mask.feed(bytes(data)))

    def _store(self, data: bytes | memoryview) -> None:
        self._total += len(data)
        room = self._head_limit - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
            self._append_head()
        if len(data) == 0:
            return
        self.dirty = True
        if len(data) >= self._tail_limit:
            self._tail[:] = data[len(data) - self._tail_limit :]
            return
        self._tail += data
        if len(self._tail) > self._tail_limit:
            del self._tail[: len(self._tail) - self._tail_limit]

    def _append_head(self) -> None:
        """The head goes to the file as it comes."""
        try:
            self._write_at(self._written, bytes(self._head[self._written :]))
        except OSError as error:
            self.error = f"{self._path}: {error.strerror}"
        else:
            self._written = len(self._head)

    def refresh(self) -> None:
        """Bring the end of the file up to date, in place."""
        if not self.dirty:
            return
        self.dirty = False
        try:
            self._write_end()
        except OSError as error:
            self.error = f"{self._path}: {error.strerror}"

    def _write_end(self) -> None:
        begin, end = self._end()
        self._write_at(begin, end)
        if begin + len(end) < self._size and self._fd is not None:
            os.ftruncate(self._fd, begin + len(end))
        self._size = begin + len(end)

    def _end(self) -> tuple[int, bytes]:
        """Where the end begins in the file, and its bytes; sets ``kept_bytes``."""
        if self._total <= self._limit:
            self.kept_bytes = self._total
            return len(self._head), bytes(self._tail)
        head_bytes = whole_characters(self._head)
        line = b"" if self._head[:head_bytes].endswith(b"\n") else b"\n"
        room = self._limit - head_bytes - _MARK_LIMIT_BYTES
        tail = bytes(self._tail[-room:])
        tail = tail[first_character(tail) :]
        self.kept_bytes = head_bytes + len(tail)
        return head_bytes, line + _MARK % (self._total - self.kept_bytes) + tail

    def _write_at(self, offset: int, data: bytes) -> None:
        if self._fd is None:
            raise FileNotFoundError(2, "the log could not be opened")
        while data:
            written = os.pwrite(self._fd, data, offset)
            data, offset = data[written:], offset + written

    def end(self, size: int) -> bytes:
        """The last ``size`` bytes that were stored, at most ``limit_bytes // 2`` of them."""
        return bytes(self._tail if len(self._tail) >= size else self._head + self._tail)[-size:]

    def close(self) -> None:
        """Write what is due and flush it. ``error`` tells whether the file is complete."""
        if self._mask is not None:
            self._store(self._mask.finish())
        if self._fd is None:
            self._open()
        if self.error is not None:
            self._written, self.error = 0, None
            self._append_head()
        self.dirty = True
        self.refresh()
        if self._fd is not None:
            try:
                os.fdatasync(self._fd)
            except OSError as error:
                self.error = f"{self._path}: {error.strerror}"
            os.close(self._fd)
            self._fd = None


def whole_characters(data: bytes | bytearray) -> int:
    """How many bytes of ``data`` are left when a UTF-8 character cut off at its end is removed."""
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte & 0xC0 == 0x80:
            continue
        length = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2 if byte >= 0xC0 else 1
        return len(data) - back if length > back else len(data)
    return len(data)


def first_character(data: bytes) -> int:
    """Where the first whole UTF-8 character of ``data`` begins, at most 3 bytes in."""
    for index in range(min(3, len(data))):
        if data[index] & 0xC0 != 0x80:
            return index
    noise = len(data) > 3 and data[3] & 0xC0 == 0x80  # no character is that long
    return 0 if noise else min(3, len(data))


class Pipe:
    """The reading end of a stage's stream, pumped into its log.

    Args:
        log: where the bytes go.

    Attributes:
        read_fd: what to poll; -1 once it is closed.
        write_fd: what the stage gets; close it after the launch.
    """

    def __init__(self, log: BoundedLog) -> None:
        self.log = log
        self.read_fd, self.write_fd = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self.read_fd, False)
        self._widen()
        self.ended = False
        self.refreshed_mono_s = time.monotonic()

    def _widen(self) -> None:
        """Ask for a pipe of 1 MiB, so that a burst does not make the stage wait for us."""
        import fcntl

        with contextlib.suppress(OSError):  # a user's pipe budget may be used up: 64 KiB will do
            fcntl.fcntl(self.write_fd, fcntl.F_SETPIPE_SZ, 1 << 20)

    def pump(self, buffer: bytearray) -> bool:
        """Read once; False where nothing was there."""
        if self.ended:
            return False
        try:
            size = os.readv(self.read_fd, [buffer])
        except BlockingIOError:
            return False
        if size == 0:
            self.ended = True
            return False
        self.log.feed(memoryview(buffer)[:size])
        return True

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

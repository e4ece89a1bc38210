"""Captured output: the first half and the last half of a bounded file, and exact counts.

While a stage runs its log can be read: the head is appended as it comes, the end is refreshed in
place when it changed. Memory is bounded too: head and tail of one stream, whatever the stage
prints. A log that cannot be written never stops the stage: it is written anew at the end.
"""

import contextlib
import os
from collections.abc import Iterable
from typing import Final

from workers.output.masking import Mask
from workers.output.ring_buffer import RingBuffer
from workers.output.safe_boundaries import SEQUENCE_LIMIT_BYTES, head_end, tail_start
from workers.records.atomic import replace_file
from workers.records.files import FILE_MODE
from workers.records.typed_errors import BadFileError

_KEY_BYTES: Final = 4


def new_mark_key() -> str:
    """A random key for the mark of dropped bytes: output that came before cannot hold it."""
    return os.urandom(_KEY_BYTES).hex()


def dropped_mark(dropped_bytes: int, key: str | None) -> bytes:
    """The line of a log that stands for dropped bytes; logs of version 0.1.0 have no key."""
    return b"[supervisor: %d bytes dropped%b]\n" % (
        dropped_bytes,
        f" #{key}".encode() if key else b"",
    )


_MARK_LIMIT_BYTES: Final = len(dropped_mark(10**19, new_mark_key())) + 1  # and a newline before it


class BoundedLog:
    """Captures one stream.

    Args:
        path: the log; an older one is overwritten.
        limit_bytes: of the file, at least 256; half of it for the head.
        mask: what hides secrets, None if there are none.
        mark_key: tells our mark of dropped bytes from a stage's own text; None if nobody reads it.

    Attributes:
        dirty: the end of the file is not up to date.
        seen_bytes: what the stage wrote.
        stored_bytes: the same with secrets hidden, as far as it is known.
        kept_bytes: ``seen_bytes`` less what was dropped, once it is closed; 0 where the file could
            not be written.
        error: why the file could not be written, None where it could.
    """

    def __init__(
        self, path: str, limit_bytes: int, mask: Mask | None, mark_key: str | None = None
    ) -> None:
        self._path = path
        self._mark_key = mark_key
        self._limit = limit_bytes
        self._head_limit = limit_bytes // 2
        self._mask = mask
        self._head = bytearray()
        # A small log gives up a quarter of each end at most, whatever garbage it is fed.
        self._sequence_limit = min(SEQUENCE_LIMIT_BYTES, limit_bytes // 8)
        self._ring = RingBuffer(limit_bytes - self._head_limit + self._sequence_limit)
        self._written = 0
        self._size = 0
        self._fd: int | None = None
        self._closed = False
        self._dropped = 0
        self.dirty = False
        self.seen_bytes = 0
        self.stored_bytes = 0
        self.kept_bytes = 0
        self.error: str | None = None
        try:
            self._open()
        except OSError as error:
            self._failed(error)

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        self._fd = os.open(self._path, flags, FILE_MODE)
        self._written = self._size = 0
        return self._fd

    def _failed(self, error: OSError) -> None:
        self.error = f"{self._path}: {error.strerror}"

    @property
    def window_bytes(self) -> int | None:
        """How many bytes at a stream's end must be fed.

        None where all must: the head is not full, or secrets are hidden.
        """
        full = len(self._head) == self._head_limit and self._mask is None
        return self._ring.size if full else None

    def skip(self, size: int) -> None:
        """Count bytes that nobody looked at; at least ``window_bytes`` more are going to be fed."""
        self.seen_bytes += size
        self.stored_bytes += size
        self._ring.clear()

    def room(self) -> tuple[memoryview, memoryview] | None:
        """Where output can be read to without being fed, in order; None where it must be fed.

        What is read there is to be told by ``read_into_room``.
        """
        return None if self.window_bytes is None else self._ring.room()

    def read_into_room(self, size: int) -> None:
        """So many bytes of output are in ``room``."""
        self.seen_bytes += size
        self.stored_bytes += size
        self.dirty = True
        self._ring.wrote(size)

    def feed(self, data: bytes | memoryview) -> None:
        """Take some output."""
        self.seen_bytes += len(data)
        self._store(data if self._mask is None else self._mask.feed(bytes(data)))

    def _store(self, data: bytes | memoryview) -> None:
        self.stored_bytes += len(data)
        room = self._head_limit - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
            try:
                self._append_head()
            except OSError as error:
                self._failed(error)
        if len(data):
            self.dirty = True
            self._ring.put(data)

    def _append_head(self) -> None:
        """The head goes to the file as it comes."""
        if self._written < len(self._head):
            with memoryview(self._head) as head, head[self._written :] as new:
                self._write_at(self._written, [new])
            self._written = len(self._head)

    def refresh(self) -> None:
        """Bring the end of the file up to date, in place."""
        if not self.dirty:
            return
        self.dirty = False
        try:
            self._write_end()
        except OSError as error:
            self._failed(error)

    def _write_end(self) -> None:
        begin, parts = self._end()
        end = begin + sum(len(part) for part in parts)
        self._write_at(begin, parts)
        if end < self._size and self._fd is not None:
            os.ftruncate(self._fd, end)
        self._size = end

    def _end(self) -> tuple[int, list[memoryview]]:
        """Where the end begins in the file, and its parts; also counts what was dropped."""
        if self.stored_bytes <= self._limit:
            return len(self._head), list(self._ring.last(self._limit))
        head_bytes = head_end(self._head, self._sequence_limit)
        line = b"" if self._head[head_bytes - 1] == 0x0A else b"\n"
        room = self._limit - self._head_limit
        size = min(self._ring.filled_bytes, room, self._limit - head_bytes - _MARK_LIMIT_BYTES)
        size -= self._given_up(size)
        self._dropped = self.stored_bytes - head_bytes - size
        mark = memoryview(line + dropped_mark(self._dropped, self._mark_key))
        return head_bytes, [mark, *self._ring.last(size)]

    def _given_up(self, size: int) -> int:
        """How many of the last ``size`` bytes are the rest of something that began before them."""
        limit = self._sequence_limit
        parts = self._last(size + limit)
        at = sum(map(len, parts)) - size
        return tail_start(_first(parts, at + limit), at, limit) - at

    def _write_at(self, offset: int, parts: list[memoryview]) -> None:
        if self._fd is None:
            raise FileNotFoundError(2, "the log could not be opened")
        for part in parts:
            while part:
                written = os.pwrite(self._fd, part, offset)
                part, offset = part[written:], offset + written

    def end(self, size: int) -> bytes:
        """The last ``size`` bytes that were stored, or as many of them as are still known."""
        return b"".join(self._last(size))

    def _last(self, size: int) -> tuple[bytes | memoryview, memoryview, memoryview]:
        """The newest bytes, of which the head has the oldest unless some between are dropped."""
        ring = self._ring
        missing = size - ring.filled_bytes
        whole = self.stored_bytes == len(self._head) + ring.filled_bytes
        return (bytes(self._head[-missing:]) if missing > 0 and whole else b"", *ring.last(size))

    def close(self) -> None:
        """Write what is due and flush it. ``error`` tells whether the file is incomplete.

        After a failure the file is replaced, once: a flush that failed may have lost pages, and
        what is on disk already must not be given up for what a full disk may refuse.
        """
        if self._closed:
            return
        self._closed = True
        if self._mask is not None:
            self._store(self._mask.finish())
        for save in (self._save if self.error is None else self._replace, self._replace):
            try:
                save()
            except OSError as error:
                self._failed(error)
            except BadFileError as error:
                self.error = str(error)
            else:
                self.error = None
                break
        self._close_fd()
        self.kept_bytes = 0 if self.error is not None else self.seen_bytes - self._dropped

    def _save(self) -> None:
        self._append_head()
        self._write_end()
        if self._fd is not None and self.stored_bytes:
            os.fdatasync(self._fd)

    def _replace(self) -> None:
        begin, parts = self._end()
        replace_file(self._path, b"".join([self._head[:begin], *parts]))

    def _close_fd(self) -> None:
        if self._fd is not None:
            with contextlib.suppress(OSError):
                os.close(self._fd)
            self._fd = None


def _first(parts: Iterable[bytes | memoryview], size: int) -> bytes:
    """The first ``size`` bytes of several parts."""
    found = bytearray()
    for part in parts:
        found += part[: size - len(found)]
    return bytes(found)

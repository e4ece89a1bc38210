"""Captured output: the first half and the last half of a bounded file, and exact byte counts.

The log can be read while its stage runs: the head is appended as it arrives, the tail is refreshed
in place when it has changed. Memory is bounded by one head and one tail per stream. A log that
cannot be written never stops the stage; the whole file is written again at the end.
"""

import contextlib
import os
from collections.abc import Iterable
from typing import Final

from workers.output.masking import Mask
from workers.output.truncate import SEQUENCE_LIMIT_BYTES, head_end, tail_start
from workers.records.atomic import replace_file
from workers.records.files import FILE_MODE
from workers.records.typed_errors import BadFileError

_KEY_BYTES: Final = 4


def new_mark_key() -> str:
    """A random key for the mark of dropped bytes: earlier output cannot contain it."""
    return os.urandom(_KEY_BYTES).hex()


def dropped_mark(dropped_bytes: int, key: str | None) -> bytes:
    """The line of a log in place of dropped bytes; logs of version 0.1.0 have no key."""
    suffix = f" #{key}".encode() if key else b""
    return b"[supervisor: %d bytes dropped%b]\n" % (dropped_bytes, suffix)


_MARK_LIMIT_BYTES: Final = len(dropped_mark(10**19, new_mark_key())) + 1  # and a newline before it


class RingBuffer:
    """Keeps the newest ``size`` bytes of a stream.

    Args:
        size: in bytes; the memory is allocated with the first byte.

    Attributes:
        filled_bytes: how many bytes it contains.
    """

    def __init__(self, size: int) -> None:
        self._data = bytearray()
        self.size = size
        self._at = 0
        self.filled_bytes = 0

    def put(self, data: bytes | memoryview) -> None:
        """Add bytes; the oldest are overwritten."""
        data = data[max(0, len(data) - self.size) :]
        first, second = self.room()
        begin = min(len(data), len(first))
        first[:begin] = data[:begin]
        second[: len(data) - begin] = data[begin:]
        self.wrote(len(data))

    def room(self) -> tuple[memoryview, memoryview]:
        """The whole buffer as two views in write order; call ``wrote`` after writing into them."""
        if not self._data:
            self._data = bytearray(self.size)
        view = memoryview(self._data)
        return view[self._at :], view[: self._at]

    def wrote(self, size: int) -> None:
        """Note that ``size`` bytes, at most ``self.size``, were written into ``room``."""
        self._at = (self._at + size) % self.size
        self.filled_bytes = min(self.size, self.filled_bytes + size)

    def clear(self) -> None:
        """Discard the content, because bytes after it were skipped."""
        self._at = self.filled_bytes = 0

    def last(self, size: int) -> tuple[memoryview, memoryview]:
        """The newest ``size`` bytes, or all if there are fewer, as two views in order.

        The views are valid until the next ``put``.
        """
        size = min(size, self.filled_bytes)
        view = memoryview(self._data)
        begin = self._at - size
        if begin >= 0:
            return view[begin : self._at], view[:0]
        return view[begin + self.size :], view[: self._at]


class BoundedLog:
    """Captures one stream.

    Args:
        path: the log; an older one is overwritten.
        limit_bytes: size limit of the file, at least 256; the head gets half of it.
        mask: hides secrets; None if there are none.
        mark_key: distinguishes the mark of dropped bytes from a stage's own text; None if nothing
            reads the mark.

    Attributes:
        dirty: the end of the file is not up to date.
        seen_bytes: size of the stage's output.
        stored_bytes: the same with secrets hidden, as far as it is known.
        kept_bytes: ``seen_bytes`` less what was dropped, once closed; 0 if the file could not be
            written.
        error: why the file could not be written; None if it could.
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
        # A small log loses at most a quarter of each end to safe boundaries, whatever it is fed.
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
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        try:
            self._fd = os.open(path, flags, FILE_MODE)
        except OSError as error:
            self._failed(error)

    def _failed(self, error: OSError) -> None:
        self.error = f"{self._path}: {error.strerror}"

    @property
    def window_bytes(self) -> int | None:
        """How many bytes of the stream's end must be fed.

        None if all must: the head is not full, or secrets are hidden.
        """
        full = len(self._head) == self._head_limit and self._mask is None
        return self._ring.size if full else None

    def skip(self, size: int) -> None:
        """Count bytes that were discarded unread; at least ``window_bytes`` more must follow."""
        self.seen_bytes += size
        self.stored_bytes += size
        self._ring.clear()

    def room(self) -> tuple[memoryview, memoryview] | None:
        """Where output can be read into directly, in order; None if it must be fed.

        Call ``read_into_room`` after reading.
        """
        return None if self.window_bytes is None else self._ring.room()

    def read_into_room(self, size: int) -> None:
        """Note that ``size`` bytes of output were read into ``room``."""
        self.seen_bytes += size
        self.stored_bytes += size
        self.dirty = True
        self._ring.wrote(size)

    def feed(self, data: bytes | memoryview) -> None:
        """Add output."""
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
        """The offset of the end in the file, and its parts; also counts the dropped bytes."""
        if self.stored_bytes <= self._limit:
            return len(self._head), list(self._ring.last(self._limit))
        head_bytes = head_end(self._head, self._sequence_limit)
        newline = b"" if self._head[head_bytes - 1] == 0x0A else b"\n"
        room = self._limit - self._head_limit
        size = min(self._ring.filled_bytes, room, self._limit - head_bytes - _MARK_LIMIT_BYTES)
        size -= self._cut_bytes(size)
        self._dropped = self.stored_bytes - head_bytes - size
        mark = memoryview(newline + dropped_mark(self._dropped, self._mark_key))
        return head_bytes, [mark, *self._ring.last(size)]

    def _cut_bytes(self, size: int) -> int:
        """How many of the last ``size`` bytes belong to a sequence that begins before them."""
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
        """The last ``size`` bytes that were stored, or as many as are still known."""
        return b"".join(self._last(size))

    def _last(self, size: int) -> tuple[bytes | memoryview, memoryview, memoryview]:
        """The newest bytes; the oldest of them are in the head if nothing was dropped between."""
        ring = self._ring
        missing = size - ring.filled_bytes
        whole = self.stored_bytes == len(self._head) + ring.filled_bytes
        return (bytes(self._head[-missing:]) if missing > 0 and whole else b"", *ring.last(size))

    def close(self) -> None:
        """Write and flush the rest. ``error`` is set if the file is incomplete.

        After a failure the file is replaced, once: a failed flush may have lost pages, and a full
        disk must not cost what is already on disk.
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
        if self._fd is not None:
            with contextlib.suppress(OSError):
                os.close(self._fd)
            self._fd = None
        self.kept_bytes = 0 if self.error is not None else self.seen_bytes - self._dropped

    def _save(self) -> None:
        self._append_head()
        self._write_end()
        if self._fd is not None and self.stored_bytes:
            os.fdatasync(self._fd)

    def _replace(self) -> None:
        begin, parts = self._end()
        replace_file(self._path, b"".join([self._head[:begin], *parts]))


def _first(parts: Iterable[bytes | memoryview], size: int) -> bytes:
    """The first ``size`` bytes of several parts."""
    joined = bytearray()
    for part in parts:
        joined += part[: size - len(joined)]
    return bytes(joined)

"""stdout and stderr of a verb: every byte is written, even to a non-blocking descriptor.

A caller may have set ``O_NONBLOCK`` on the pipe or terminal that we inherit (Node.js, an asyncio
runner, ssh), and the flag must stay, because the caller shares it. Python's own streams then fail
with EAGAIN, or lose the rest of a write when ``PYTHONUNBUFFERED`` is set. Streams that are opened
here wait until the descriptor takes more. ``start`` uses an ``Outlet`` instead, which never waits.
"""

import io
import os
import select
import sys
from typing import Any, Final, TextIO

STREAMS: Final = ((0, "stdin"), (1, "stdout"), (2, "stderr"))


class WaitingFile(io.FileIO):
    """A descriptor whose writes wait until it takes at least one byte.

    Args:
        fd: the descriptor; it stays open.
        title: its name in errors.
        is_missing: the caller closed the stream, and ``fd`` is ``/dev/null``.
    """

    def __init__(self, fd: int, title: str, *, is_missing: bool) -> None:
        super().__init__(fd, "w", closefd=False)
        self.title = title
        self.is_missing = is_missing

    def write(self, data: Any, /) -> int:  # noqa: ANN401 - bytes, or a buffer of them
        """Write as much as the descriptor takes at once.

        Returns:
            How many bytes, at least one; never None.

        Raises:
            OSError: the system refused; the error names the stream.
        """
        while True:
            try:
                count = super().write(data)
            except OSError as error:
                raise OSError(error.errno, error.strerror, self.title) from None
            if count is not None:
                return count
            ready = select.poll()
            ready.register(self.fileno(), select.POLLOUT)
            ready.poll()  # an error or a closed end ends the wait, too; the next write reports it


def open_streams() -> None:
    """Replace ``sys.stdout`` and ``sys.stderr`` if they are the process's own, 1 and 2.

    If the caller closed stdin, stdout or stderr, ``/dev/null`` takes its number, so that no file of
    ours does.
    """
    missing = {name for fd, name in STREAMS if getattr(sys, name) is None}
    for fd, name in STREAMS:
        if name in missing:
            while (opened := os.open(os.devnull, os.O_RDWR)) < fd:
                pass
            if opened != fd:
                os.close(opened)
        if fd == 0:
            sys.stdin = sys.stdin or os.fdopen(0, closefd=False)
        elif name in missing or _is_plain(getattr(sys, name), fd):
            setattr(sys, name, _opened(fd, name, is_missing=name in missing))


def is_missing(stream: TextIO) -> bool:
    """Check whether the caller closed a stream, so that what is written to it is lost."""
    raw = getattr(getattr(stream, "buffer", None), "raw", None)
    return isinstance(raw, WaitingFile) and raw.is_missing


def discard(stream: TextIO) -> None:
    """Redirect a stream that refuses writes to ``/dev/null``, together with its buffer."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)


def _is_plain(stream: TextIO, fd: int) -> bool:
    """Check whether Python itself opened a stream; a test may have replaced it."""
    buffer = getattr(stream, "buffer", None)
    raw = getattr(buffer, "raw", buffer)  # with PYTHONUNBUFFERED there is no buffer between
    return isinstance(raw, io.FileIO) and raw.fileno() == fd


def _opened(fd: int, name: str, *, is_missing: bool) -> TextIO:
    old = getattr(sys, name)
    errors = "backslashreplace" if old is None or old.errors == "strict" else old.errors
    raw = WaitingFile(fd, name, is_missing=is_missing)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding="utf-8" if old is None else old.encoding,
        errors=errors,
        line_buffering=name == "stderr" or raw.isatty(),
    )

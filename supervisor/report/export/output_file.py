"""Write output to a path that a user gave: a regular file is replaced, anything else written to.

Replacing lets a report appear whole, but would turn a device such as ``/dev/null`` or a FIFO into a
regular file. So only a regular file or a missing one is replaced; of a link, its target is. A
device, a FIFO and our own descriptors (``/dev/stdout``, ``/dev/fd/N``) are written to, as by a
shell's ``>``.
"""

import contextlib
import os
import stat
from typing import Final

from supervisor.report.text.std_streams import WaitingFile
from workers.records.atomic import replace_file
from workers.records.files import FILE_MODE
from workers.records.typed_errors import BadFileError

_LINKS_LIMIT_COUNT: Final = 40  # as the kernel's


def write_output(
    path: str, data: bytes, *, flush: bool = True, mode: int = FILE_MODE, waits: bool = True
) -> None:
    """Write output.

    Args:
        path: absolute.
        data: the whole content.
        flush: of a regular file, as ``replace_file``.
        mode: of a regular file, as ``replace_file``.
        waits: wait for the reader of a FIFO or a terminal; False to fail instead.

    Raises:
        BadFileError: it is a directory.
        OSError: it cannot be written, or has no reader and ``waits`` is False.
    """
    fd = _own_descriptor(path)
    if fd is not None:
        _write(fd, path, data, waits=waits)
        return
    with contextlib.suppress(FileNotFoundError):
        kind = os.stat(path).st_mode
        if stat.S_ISDIR(kind):
            raise BadFileError(path=path, reason="is a directory")
        if not stat.S_ISREG(kind):
            _write_through(path, data, waits=waits)
            return
    replace_file(os.path.realpath(path), data, flush=flush, mode=mode)


def _own_descriptor(path: str) -> int | None:
    """The descriptor of this process that a path such as ``/dev/stdout`` names."""
    for _ in range(_LINKS_LIMIT_COUNT):
        directory, name = os.path.realpath(os.path.dirname(path)), os.path.basename(path)
        if directory == f"/proc/{os.getpid()}/fd":
            return int(name) if name.isdecimal() else None
        path = os.path.join(directory, name)
        if not os.path.islink(path):
            return None
        path = os.path.join(directory, os.readlink(path))
    return None


def _write_through(path: str, data: bytes, *, waits: bool) -> None:
    flags = os.O_WRONLY | os.O_NOCTTY | os.O_CLOEXEC
    fd = os.open(path, flags if waits else flags | os.O_NONBLOCK)
    try:
        _write(fd, path, data, waits=waits)
    finally:
        os.close(fd)


def _write(fd: int, path: str, data: bytes, *, waits: bool) -> None:
    file = WaitingFile(fd, path, is_missing=False)
    view = memoryview(data)
    while view:
        view = view[file.write(view) if waits else os.write(fd, view) :]

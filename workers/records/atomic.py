"""Writing: replaced whole or appended whole, flushed before it is said, measured every time.

Replace: temporary file in the same directory, write all, flush, fsync, rename, fsync the
directory. A reader sees the old or the new file and needs no lock. A failed fsync is never retried
on the same descriptor (the kernel may have dropped the pages): the caller writes the file anew.
Temporary files are called ``.<name>.<pid>-<start ticks>-<serial>.tmp`` after their writer; what a
dead writer left is swept by the supervisor's next start, also when its pid belongs to somebody else
by then. A worker that was placed on some host adds its boot: only there can anybody tell whether it
lives.
"""

import contextlib
import functools
import itertools
import json
import os
import re
import time
from typing import Any, Final

from workers.records.dataclass import dataclass
from workers.records.files import CREATE, FILE_MODE, make_dir, open_regular, sync_dir
from workers.records.json_indent import indent_json
from workers.records.proc import is_running, proc_stat
from workers.records.typed_errors import BadFileError
from workers.records.utf8 import to_json

TORN: Final = b"<torn>\n"
"""Closes a line that its writer left without a newline; a line that ends so never counts."""
_LINE = json.JSONEncoder()  # json.dumps with separators would make one each time
_serial = itertools.count()
_boot: Final[dict[str, str]] = {}
_BOOT_CHARS: Final = 8  # of 36: enough to tell two boots apart
_FOREIGN: Final = re.compile(r"\.\d+-\d+-\d+-([0-9a-f]{8})\.tmp\Z")


@dataclass(frozen=True, slots=True)
class WriteCost:
    """What a write cost.

    Attributes:
        seconds: from its start until it was flushed, on the monotonic clock.
        bytes: how many bytes were written.
    """

    seconds: float
    bytes: int


def write_all(fd: int, data: bytes) -> None:
    """Write every byte; the kernel may take them in parts."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def append_line(fd: int, line: bytes) -> None:
    """Append one line; a torn last line (its writer was killed) is closed with ``TORN`` first.

    Args:
        fd: a file that is open for reading and with O_APPEND.
        line: the line, its newline included.

    Raises:
        OSError: a torn line may be left, which the next append closes.
    """
    size = os.fstat(fd).st_size
    is_torn = size > 0 and os.pread(fd, 1, size - 1) != b"\n"
    write_all(fd, TORN + line if is_torn else line)


def replace_file(
    path: str, data: bytes, *, flush: bool = True, flush_name: bool = True, mode: int = FILE_MODE
) -> WriteCost:
    """Put ``data`` in the place of ``path``, whole or not at all.

    Args:
        path: the file, in a directory that exists.
        data: its new content.
        flush: False for a view that may be lost with the power, never for history.
        flush_name: False where a loss of power may leave the old file in its place.
        mode: who may read it; another than a record's is given whatever the umask says.

    Raises:
        BadFileError: a directory stands in its place.
        OSError: the old file stands, and no temporary file is left.
    """
    began = time.monotonic()
    directory = os.path.dirname(path)
    temporary = os.path.join(directory, temporary_name(os.path.basename(path)))
    fd = os.open(temporary, CREATE, FILE_MODE)
    try:
        try:
            if mode != FILE_MODE:
                os.fchmod(fd, mode)
            write_all(fd, data)
            if flush:
                os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, IsADirectoryError):
            raise BadFileError(path=path, reason="is a directory") from None
        raise
    if flush and flush_name:
        sync_dir(directory)
    return WriteCost(time.monotonic() - began, len(data))


def temporary_name(name: str) -> str:
    """A new name for a temporary file of this process that stands for ``name``."""
    return f".{name[:180]}.{_writer(os.getpid())}-{next(_serial)}{_boot.get('mark', '')}.tmp"


def name_boot(boot_id: str) -> None:
    """From now on this process's temporary files say of which boot they are."""
    _boot["mark"] = f"-{boot_id[:_BOOT_CHARS]}"


@functools.lru_cache(maxsize=1)
def _writer(pid: int) -> str:
    """This process, as temporary files name it; asked with the pid, since a fork is another."""
    stat = proc_stat(pid)
    return f"{pid}-{stat.start_ticks if stat else 0}"


def is_abandoned(name: str) -> bool:
    """Tell whether a file name is that of a temporary file whose writer does not live any more.

    Of one that was written on another host nobody can tell.
    """
    if not name.endswith(".tmp") or is_foreign(name):
        return False
    pid, _, rest = name[: -len(".tmp")].rpartition(".")[2].partition("-")
    ticks = rest.partition("-")[0]
    return not (pid.isdigit() and ticks.isdigit() and is_running(int(pid), int(ticks)))


def sweep_temporaries(path: str) -> None:
    """Remove the temporary files of one file that dead writers left next to it.

    What the disk refuses to remove stays; it is in nobody's way.
    """
    directory, name = os.path.split(path)
    with contextlib.suppress(OSError):
        for found in os.listdir(directory or "."):
            if found.startswith(f".{name[:180]}.") and is_abandoned(found):
                os.unlink(os.path.join(directory, found))


def is_temporary(name: str) -> bool:
    """Tell whether a file name is that of a temporary file of another process, dead or alive.

    For a directory in which nobody else may write: whoever wrote there has lost its claim, or
    writes in the root that this one was copied from.
    """
    writer = name.removesuffix(".tmp").rpartition(".")[2]
    return name.endswith(".tmp") and not writer.startswith(f"{_writer(os.getpid())}-")


def is_foreign(name: str) -> bool:
    """Tell whether a file name is that of a temporary file which was written on another host."""
    mark = _FOREIGN.search(name)
    if mark is None:
        return False
    from workers.records.identity import boot_id  # for the few names that have one

    return not boot_id().startswith(mark[1])


def create_file(path: str, data: bytes) -> None:
    """Write a new file in a directory that nobody sees yet, and flush it; an empty one has nothing.

    Raises:
        FileExistsError: the name is taken.
    """
    fd = os.open(path, CREATE, FILE_MODE)
    try:
        write_all(fd, data)
        if data:
            os.fsync(fd)
    finally:
        os.close(fd)


def write_marker(path: str, task_id: str) -> None:
    """Write the marker of a run of a task, over one that a crash has torn, and flush it.

    Its name is the caller's to flush, once for many. ``files.read_marker`` reads it.

    Raises:
        BadFileError: something else stands in its place.
    """
    fd = open_regular(path, os.O_WRONLY | os.O_CREAT)
    try:
        write_all(fd, f"{task_id}\n".encode())
        os.fdatasync(fd)
    finally:
        os.close(fd)


def publish_dir(built: str, path: str) -> None:
    """Flush a finished directory and rename it into place: it appears whole.

    Its new name is the caller's to flush, once for many.

    Raises:
        FileExistsError: the place is taken by a directory that is not empty.
    """
    sync_dir(built)
    make_dir(os.path.dirname(path))
    try:
        os.rename(built, path)
    except OSError as error:
        if os.path.isdir(path):
            raise FileExistsError(error.errno, error.strerror, path) from None
        raise


def to_bytes(value: object) -> bytes:
    """Write a record as people read it: indented by 2, ASCII-safe, a newline at the end."""
    return (to_json(value, indent_json) + "\n").encode()


def to_line(value: dict[str, Any]) -> bytes:
    """Write a record as one line of NDJSON, its newline included."""
    return (to_json(value, _LINE.encode) + "\n").encode()

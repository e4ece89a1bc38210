"""Writing: whole files by rename, whole lines by append, flushed before they are acknowledged.

To replace a file: write a temporary file in the same directory, fsync it, rename it, fsync the
directory. A reader sees the old or the new file and needs no lock. A failed fsync is never retried
on the same descriptor (the kernel may have dropped the pages): the caller writes the file again.

Temporary files are called ``.<name>.<pid>-<start ticks>-<serial>.tmp``. When the supervisor starts,
it removes those of dead writers, also if another process has the pid by then. A worker that an
engine placed appends its boot id, because only its own host can tell whether it is alive.
"""

import contextlib
import fcntl
import functools
import itertools
import json
import os
import re
import time
from typing import Any, Final

from workers.records.dataclass import dataclass
from workers.records.files import CREATE, FILE_MODE, make_dir, open_regular, sync_dir
from workers.records.json_text import indent_json, to_json
from workers.records.proc import is_running, proc_stat
from workers.records.typed_errors import BadFileError

TORN: Final = b"<torn>\n"
"""Closes a line that its writer left without a newline; a line with this end never counts."""
_LINE = json.JSONEncoder()  # json.dumps with separators would create one per call
_serial = itertools.count()
_boot: Final[dict[str, str]] = {}
_BOOT_CHARS: Final = 8  # of 36: enough to distinguish two boots
_FOREIGN: Final = re.compile(r"\.\d+-\d+-\d+-([0-9a-f]{8})\.tmp\Z")


@dataclass(frozen=True, slots=True)
class WriteCost:
    """What a write cost: seconds on the monotonic clock, flush included, and bytes written."""

    seconds: float
    bytes: int


def write_all(fd: int, data: bytes) -> None:
    """Write every byte; the kernel may accept them in parts."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def append_line(fd: int, line: bytes) -> None:
    """Append one line; a torn last line (its writer was killed) is closed with ``TORN`` first.

    Args:
        fd: a file that is open for reading and with O_APPEND.
        line: the line with its newline.

    Raises:
        OSError: a torn line may be left, which the next append closes.
    """
    size = os.fstat(fd).st_size
    is_torn = size > 0 and os.pread(fd, 1, size - 1) != b"\n"
    write_all(fd, TORN + line if is_torn else line)


def replace_file(
    path: str, data: bytes, *, flush: bool = True, flush_name: bool = True, mode: int = FILE_MODE
) -> WriteCost:
    """Replace ``path`` by ``data``, whole or not at all.

    Args:
        path: the file, in a directory that exists.
        data: its new content.
        flush: False for a view that a power failure may lose, never for history.
        flush_name: False if a power failure may leave the old file in place.
        mode: the file's mode; one other than a record's is set regardless of the umask.

    Raises:
        BadFileError: a directory is in its place.
        OSError: the old file is unchanged, and no temporary file is left.
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
    """A new name for a temporary file of this process that will replace ``name``."""
    return f".{name[:180]}.{_writer(os.getpid())}-{next(_serial)}{_boot.get('mark', '')}.tmp"


def name_boot(boot_id: str) -> None:
    """Append the boot id to the names of this process's temporary files from now on."""
    _boot["mark"] = f"-{boot_id[:_BOOT_CHARS]}"


@functools.lru_cache(maxsize=1)
def _writer(pid: int) -> str:
    """This process in names of temporary files; a fork has another pid, so it is an argument."""
    stat = proc_stat(pid)
    return f"{pid}-{stat.start_ticks if stat else 0}"


def is_abandoned(name: str) -> bool:
    """Whether a file name is that of a temporary file whose writer is dead; False if unknown."""
    if not name.endswith(".tmp") or is_foreign(name):
        return False
    pid, _, rest = name[: -len(".tmp")].rpartition(".")[2].partition("-")
    ticks = rest.partition("-")[0]
    return not (pid.isdigit() and ticks.isdigit() and is_running(int(pid), int(ticks)))


def sweep_temporaries(path: str) -> None:
    """Remove a file's temporary files of dead writers; those that cannot be removed do no harm."""
    directory, name = os.path.split(path)
    with contextlib.suppress(OSError):
        for entry in os.listdir(directory or "."):
            if entry.startswith(f".{name[:180]}.") and is_abandoned(entry):
                os.unlink(os.path.join(directory, entry))


def is_temporary(name: str) -> bool:
    """Whether a file name is that of another process's temporary file, dead or alive.

    For a directory with one writer: any other writer has lost its claim, or writes in the root that
    this one was copied from.
    """
    writer = name.removesuffix(".tmp").rpartition(".")[2]
    return name.endswith(".tmp") and not writer.startswith(f"{_writer(os.getpid())}-")


def is_foreign(name: str) -> bool:
    """Whether a file name is that of a temporary file that was written on another host."""
    mark = _FOREIGN.search(name)
    if mark is None:
        return False
    from workers.records.identity import boot_id  # few names have a mark

    return not boot_id().startswith(mark[1])


def create_file(path: str, data: bytes) -> None:
    """Write a new file in a directory that is not visible yet, and flush it unless it is empty.

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


def create_locked(path: str, data: bytes = b"") -> int:
    """Create or replace a file that appears under its name already locked and whole.

    Returns:
        The locked descriptor, which children do not inherit.

    Raises:
        OSError: the file cannot be created or locked; nothing is left of it.
    """
    directory, name = os.path.split(path)
    temporary = os.path.join(directory, temporary_name(name))
    fd = os.open(temporary, CREATE, FILE_MODE)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        write_all(fd, data)
        os.rename(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        os.close(fd)
        raise
    return fd


def write_marker(path: str, task_id: str) -> None:
    """Write and flush the marker of a task's run, also over a torn one; see ``read_marker``.

    The caller flushes its name, once for many.

    Raises:
        BadFileError: it is not a regular file.
    """
    fd = open_regular(path, os.O_WRONLY | os.O_CREAT)
    try:
        write_all(fd, f"{task_id}\n".encode())
        os.fdatasync(fd)
    finally:
        os.close(fd)


def publish_dir(built: str, path: str) -> None:
    """Flush a finished directory and rename it into place, so that it appears whole.

    The caller flushes its new name, once for many.

    Raises:
        FileExistsError: a directory that is not empty is in its place.
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
    """A record as indented ASCII JSON with a newline at the end."""
    return (to_json(value, indent_json) + "\n").encode()


def to_line(value: dict[str, Any]) -> bytes:
    """A record as one line of NDJSON, with its newline."""
    return (to_json(value, _LINE.encode) + "\n").encode()

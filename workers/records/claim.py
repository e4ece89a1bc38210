"""``.claim.N``: who began attempt N of a run that was placed on some host. JSON lines.

::

    {"by": "worker", "identity": {"host", "boot_id", "pid", "start_ticks"}, "pid_ns": 4, "at": "…"}
    {"ended_at": "…", "exit_code": 0, "signal": null, "leftover_pids": []}

It is created whole, and only once: it is written under another name, which is then linked to this
one (O_EXCL if the file system has no links). ``pid_ns`` is the inode of the namespace of
the pid: containers of one machine share its boot id and may share a host name. ``by`` is
"supervisor" if the supervisor revoked the attempt: no worker may begin it any more. The keeper
writes the second line when its worker has ended. A worker whose claim the supervisor renamed away
writes no more records.
"""

import contextlib
import errno
import os
from typing import Final

from workers.records.atomic import temporary_name, to_line, write_all
from workers.records.clock import utc_text
from workers.records.dataclass import dataclass
from workers.records.files import (
    CREATE,
    FILE_MODE,
    open_regular,
    parse_object,
    read_bytes,
    sync_dir,
)
from workers.records.identity import Identity, identity_of, pid_namespace
from workers.records.json_reader import JsonReader
from workers.records.layout import RunDir
from workers.records.typed_errors import BadRecordError, TypedError

WORKER: Final = "worker"
SUPERVISOR: Final = "supervisor"
NO_LINKS: Final = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV)
_LIMIT_BYTES: Final = 65_536  # two lines


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerEnd:
    """How a worker ended, as its keeper saw it.

    Attributes:
        exit_code: None if a signal ended it.
        signal: the signal's name; None if it exited.
        leftover_pids: processes of the run on this host that could not be killed.
    """

    exit_code: int | None
    signal: str | None
    leftover_pids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The content of a claim.

    Attributes:
        by: WORKER or SUPERVISOR.
        pid_ns: the namespace of the pid of ``holder``; None if unknown.
        holder: the process that created it, a worker's keeper or a supervisor; None if unreadable.
        ended: how the worker ended; None if that is not recorded.
    """

    by: str = WORKER
    pid_ns: int | None = None
    holder: Identity | None = None
    ended: WorkerEnd | None = None


@dataclass(frozen=True, slots=True)
class ClaimFile:
    """A claim that this process holds and the supervisor may revoke by renaming the file."""

    path: str
    device: int
    inode: int

    @staticmethod
    def of(path: str, fd: int) -> "ClaimFile":
        """The claim that is open as ``fd``."""
        status = os.fstat(fd)
        return ClaimFile(path, status.st_dev, status.st_ino)

    def is_gone(self) -> bool:
        """Whether the path does not lead to the file any more.

        Opens the file: on a shared folder only that asks the server.
        """
        try:
            fd = open_regular(self.path, os.O_RDONLY)
        except (FileNotFoundError, NotADirectoryError):
            return True
        except (OSError, TypedError):
            return False  # unknown, which is no proof that it is gone
        try:
            status = os.fstat(fd)
        finally:
            os.close(fd)
        return (status.st_dev, status.st_ino) != (self.device, self.inode)


def take_claim(run: RunDir, attempt: int, *, by: str, at_epoch_s: float) -> int | None:
    """Claim an attempt if it is not claimed.

    Args:
        run: the run.
        attempt: the attempt's number.
        by: WORKER or SUPERVISOR.
        at_epoch_s: the current time, for people.

    Returns:
        A descriptor of the claim, open for ``record_worker_end``; None if it is claimed already, or
        if the run has its verdict.

    Raises:
        FileNotFoundError: there is no such run.
        OSError: the disk refused; the attempt is not claimed by this call.
    """
    identity = identity_of(os.getpid())
    head = {
        "by": by,
        "identity": None if identity is None else identity.to_json(),
        "pid_ns": pid_namespace(),
    }
    line = to_line({**head, "at": utc_text(at_epoch_s)})
    path = run.claim(attempt)
    temporary = os.path.join(run.path, temporary_name(os.path.basename(path)))
    fd = os.open(temporary, CREATE, FILE_MODE)
    try:
        write_all(fd, line)
        os.fsync(fd)
        is_ours = _link(temporary, path, fd)
    except OSError as error:
        os.close(fd)
        if error.errno in NO_LINKS:
            return _create_without_links(path, line)
        raise
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
    if not is_ours:
        os.close(fd)
        return None
    sync_dir(run.path)
    return fd


def _link(temporary: str, path: str, fd: int) -> bool:
    try:
        os.link(temporary, path, follow_symlinks=False)
    except FileExistsError:
        # An NFS server that got the request twice, since its first answer was lost, has linked it.
        return os.fstat(fd).st_nlink > 1
    except FileNotFoundError:
        if not os.path.isdir(os.path.dirname(path)):
            raise
        return False  # the run has its verdict: what was not claimed by then was swept
    return True


def _create_without_links(path: str, line: bytes) -> int | None:
    try:
        fd = os.open(path, CREATE, FILE_MODE)
    except FileExistsError:
        return None
    try:
        write_all(fd, line)
        os.fsync(fd)
    except OSError:  # the claim is valid, although it does not name its holder
        with contextlib.suppress(OSError):
            os.ftruncate(fd, 0)  # or ``record_worker_end`` would append to a torn line
    return fd


def record_worker_end(fd: int, end: WorkerEnd, *, at_epoch_s: float) -> None:
    """Append how the worker ended; raises OSError if the disk refuses."""
    os.lseek(fd, 0, os.SEEK_END)
    record = {
        "ended_at": utc_text(at_epoch_s),
        "exit_code": end.exit_code,
        "signal": end.signal,
        "leftover_pids": list(end.leftover_pids),
    }
    write_all(fd, to_line(record))
    os.fsync(fd)


def read_claim(path: str) -> Claim | None:
    """Read a claim.

    Returns:
        As much of it as can be read; None if there is no claim.

    Raises:
        OSError: it cannot be opened.
        BadFileError: it is not a regular file.
    """
    try:
        data = read_bytes(path, _LIMIT_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except BadRecordError:
        return Claim()
    by, holder, ended, pid_ns = WORKER, None, None, None
    for line in data[: data.rfind(b"\n") + 1].splitlines():
        with contextlib.suppress(TypedError):
            record = parse_object(line, path)
            read = JsonReader(record, path)
            if "ended_at" in record:
                ended = ended or WorkerEnd(
                    exit_code=read.integer_or_none("exit_code"),
                    signal=read.text_or_none("signal"),
                    leftover_pids=read.integers_or_none("leftover_pids") or (),
                )
            elif record.get("by") == SUPERVISOR:
                by = SUPERVISOR
            if "identity" in record:
                pid_ns = read.integer_or_none("pid_ns")
                holder = Identity.from_fields(read.child("identity"))
    return Claim(by=by, holder=holder, ended=ended, pid_ns=pid_ns)

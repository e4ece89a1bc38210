"""``.claim.N``: who has begun attempt N of a run that was placed on some host. JSON lines.

::

    {"by": "worker", "identity": {"host", "boot_id", "pid", "start_ticks"}, "pid_ns": 4, "at": "…"}
    {"ended_at": "…", "exit_code": 0, "signal": null, "leftover_pids": []}

It comes to be whole and once, whoever tries: it is written under another name, which is then linked
to this one (O_EXCL where the file system has no links). ``pid_ns`` is the inode of the namespace in
which the pid is meant: containers of one machine share its boot, and may share a name. ``by`` is
"supervisor" where the supervisor has taken the attempt back: nobody begins it any more. The second
line is the keeper's: its worker has ended. A worker whose claim is gone, because the supervisor
renamed it, tells nothing more.
"""

import contextlib
import errno
import os
from typing import Final

from workers.records.atomic import temporary_name, to_line, write_all
from workers.records.clock import utc_text
from workers.records.dataclass import dataclass
from workers.records.files import CREATE, FILE_MODE, parse_object, read_bytes, sync_dir
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
        exit_code: None where a signal ended it.
        signal: the signal's name, None where it exited.
        leftover_pids: what it left behind on its host and could not be killed.
    """

    exit_code: int | None
    signal: str | None
    leftover_pids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a claim says.

    Attributes:
        by: WORKER or SUPERVISOR.
        who: the process that made it: a worker's keeper, or a supervisor; None where that cannot be
            read.
        ended: how the worker ended, None where nobody has told.
        pid_ns: in which namespace the pid of ``who`` is meant; None where nobody has told.
    """

    by: str = WORKER
    pid_ns: int | None = None
    who: Identity | None = None
    ended: WorkerEnd | None = None


def take_claim(run: RunDir, attempt: int, *, by: str, at_epoch_s: float) -> int | None:
    """Claim an attempt, if nobody has.

    Args:
        run: the run.
        attempt: which one.
        by: WORKER or SUPERVISOR.
        at_epoch_s: this instant, for people.

    Returns:
        A descriptor of the claim, open for ``record_worker_end``; None where somebody else has it.

    Raises:
        FileNotFoundError: there is no such run.
        OSError: the disk refused; nobody has the claim by this.
    """
    me = identity_of(os.getpid())
    identity = None if me is None else me.to_json()
    facts = {"by": by, "identity": identity, "pid_ns": pid_namespace()}
    line = to_line({**facts, "at": utc_text(at_epoch_s)})
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
            return _without_links(path, line)
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
        # A server that was asked twice, since its first answer was lost, has done it all the same.
        return os.fstat(fd).st_nlink > 1
    return True


def _without_links(path: str, line: bytes) -> int | None:
    try:
        fd = os.open(path, CREATE, FILE_MODE)
    except FileExistsError:
        return None
    try:
        write_all(fd, line)
        os.fsync(fd)
    except OSError:  # the claim stands, though it does not say whose it is
        with contextlib.suppress(OSError):
            os.ftruncate(fd, 0)  # else ``record_worker_end`` would append to a torn line
    return fd


def record_worker_end(fd: int, end: WorkerEnd, *, at_epoch_s: float) -> None:
    """Append how the worker ended; OSError where the disk refuses."""
    told = {"exit_code": end.exit_code, "signal": end.signal}
    pids = list(end.leftover_pids)
    os.lseek(fd, 0, os.SEEK_END)
    line = to_line({"ended_at": utc_text(at_epoch_s), **told, "leftover_pids": pids})
    write_all(fd, line)
    os.fsync(fd)


def read_claim(path: str) -> Claim | None:
    """Read a claim.

    Returns:
        What it says, as far as it can be understood; None where there is none.

    Raises:
        OSError: it cannot be looked at.
        BadFileError: something else stands in its place.
    """
    try:
        data = read_bytes(path, _LIMIT_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except BadRecordError:
        return Claim()
    by, who, ended, pid_ns = WORKER, None, None, None
    for line in data[: data.rfind(b"\n") + 1].splitlines():
        with contextlib.suppress(TypedError):
            found = parse_object(line, path)
            if "ended_at" in found:
                ended = ended or _end(JsonReader(found, path))
            elif found.get("by") == SUPERVISOR:
                by = SUPERVISOR
            if "identity" in found:
                pid_ns = JsonReader(found, path).integer_or_none("pid_ns")
                who = Identity.from_fields(JsonReader(found, path).child("identity"))
    return Claim(by=by, who=who, ended=ended, pid_ns=pid_ns)


def _end(read: JsonReader) -> WorkerEnd:
    return WorkerEnd(
        exit_code=read.integer_or_none("exit_code"),
        signal=read.text_or_none("signal"),
        leftover_pids=read.integers_or_none("leftover_pids") or (),
    )

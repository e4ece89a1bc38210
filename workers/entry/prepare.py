"""Preparing a run: take its owner lock, check that it may begin, open its journal, read its spec.

Nothing of the run has begun after that. The zygote does it before it forks, with code and memory
that are warm; a worker with an interpreter of its own does it itself.
"""

import errno
import fcntl
import os
import time
from collections.abc import Mapping
from typing import Final

from workers.records.begun import has_begun
from workers.records.claim import ClaimFile
from workers.records.clock import SystemClock
from workers.records.dataclass import dataclass
from workers.records.files import open_regular
from workers.records.identity import root_id
from workers.records.journal import JournalReader, JournalWriter, verdict_in
from workers.records.layout import RunDir, layout_of_run
from workers.records.spec import RunSpec, load_spec
from workers.records.typed_errors import BadFileError, OwnedError, TypedError

_NO_LOCKS: Final = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)
# A process that checks whether a run is owned holds its lock for microseconds, gc for three calls.
_TRIES_COUNT: Final = 50  # 1 s
_TRY_S: Final = 0.02


class PlacedError(OwnedError):
    """A worker began the run and left no verdict: stages may not run twice. Facts: run_dir."""

    template = (
        "{run_dir}: an earlier worker began this run and left no verdict; the supervisor records "
        "one, and 'supervisor retry' creates a new run"
    )


class RevokedError(OwnedError):
    """The claim of a worker was revoked before the run began. Facts: run_dir."""

    template = "{run_dir}: the claim of this attempt was revoked; nothing has begun here"


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedRun:
    """A run that can begin.

    Attributes:
        environ: the environment that those of stages are based on.
        journal: open; the caller closes it if the run does not begin.
        spec: what to run, or why it cannot be read.
        root_id: identity of the run's root.
    """

    run: RunDir
    environ: Mapping[str, str]
    journal: JournalWriter
    spec: RunSpec | OSError | TypedError
    root_id: str


def prepare_run(
    run: RunDir, owner_fd: int | None, environ: Mapping[str, str], *, claim: ClaimFile | None = None
) -> PreparedRun | None:
    """Prepare a run.

    Args:
        run: its directory, by its real path.
        owner_fd: its locked owner file; None to take the lock.
        environ: our environment.
        claim: our claim, if we were placed.

    Returns:
        The run; None if it has its verdict.

    Raises:
        TypedError: it is not ours to run.
        FileNotFoundError: there is no such run.
        OSError: the system refused.
    """
    root = root_id(layout_of_run(run).runs)
    os.stat(run.journal)  # before .owner is created in a directory that is no run
    if claim is None:
        own(run, owner_fd)
    else:
        _own_by_claim(run, claim)
    if is_done(run):
        return None
    journal = JournalWriter(run.journal, by="worker", clock=SystemClock())
    spec: RunSpec | OSError | TypedError
    try:
        spec = load_spec(run.spec)
    except (OSError, TypedError) as error:
        spec = error
    return PreparedRun(run=run, environ=environ, journal=journal, spec=spec, root_id=root)


def own(run: RunDir, owner_fd: int | None) -> int:
    """Hold the owner lock, by the passed descriptor or by taking it.

    Returns:
        The descriptor, which stages do not inherit. It is never closed or unlocked; the kernel
        releases it when this process ends.

    Raises:
        OwnedError: another process holds the lock.
        BadFileError: the descriptor is not this run's owner file.
    """
    if owner_fd is None:
        fd = open_regular(run.owner, os.O_RDWR | os.O_CREAT)
    else:
        fd = owner_fd
        _check_owner_fd(fd, run)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)  # succeeds if our parent locked it
    except BlockingIOError:
        if owner_fd is None:
            os.close(fd)
        raise OwnedError(run_dir=run.path) from None
    return fd


def _check_owner_fd(fd: int, run: RunDir) -> None:
    try:
        os.set_inheritable(fd, False)
        opened = os.fstat(fd)
    except (OSError, OverflowError):
        raise BadFileError(path=run.owner, reason=f"is not open as descriptor {fd}") from None
    named = os.stat(run.owner, follow_symlinks=False)
    if (opened.st_dev, opened.st_ino) != (named.st_dev, named.st_ino):
        raise BadFileError(path=run.owner, reason=f"is not the file of descriptor {fd}")


def _own_by_claim(run: RunDir, claim: ClaimFile) -> None:
    """Hold the owner lock of a run that we have claimed, if its folder supports locks.

    Raises:
        OwnedError: another process holds the lock.
        RevokedError: the claim was revoked meanwhile.
    """
    for left in reversed(range(_TRIES_COUNT)):
        try:
            own(run, None)
            break
        except OwnedError:
            if not left:
                raise
            time.sleep(_TRY_S)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            break  # the claim alone must do
    if claim.is_gone():
        raise RevokedError(run_dir=run.path)


def is_done(run: RunDir) -> bool:
    """Whether a run that we own has its verdict.

    Raises:
        PlacedError: it has none, but has begun.
        FileNotFoundError: there is no such run.
    """
    reader = JournalReader(run.journal)
    facts = reader.read_new()
    if verdict_in(facts) is not None:
        return True
    if has_begun(run, facts, reader.bad_lines_count):
        raise PlacedError(run_dir=run.path)
    return False

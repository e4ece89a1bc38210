"""Owning a run: the flock on its ``.owner``, and the question whether there is anything to do."""

import errno
import fcntl
import os
import time
from typing import Final

from workers.records.begun import has_begun
from workers.records.files import ClaimFile, open_regular
from workers.records.journal import JournalReader, verdict_in
from workers.records.layout import RunDir
from workers.records.typed_errors import BadFileError, OwnedError

_NO_LOCKS: Final = (
    errno.ENOLCK,
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
    errno.EINVAL,
    errno.ENOSYS,
)
# Whoever asks whether a run is owned holds its lock for microseconds, a gc for three calls: 1 s.
_TRIES_COUNT: Final = 50
_TRY_S: Final = 0.02


class PlacedError(OwnedError):
    """A worker was here and left no verdict: stages may not run twice. Facts: run_dir."""

    template = (
        "{run_dir}: a worker has begun this run before and left no verdict; the supervisor gives "
        "it one, and `supervisor retry` makes a new run"
    )


class RevokedError(OwnedError):
    """The claim of a worker was taken away before it began. Facts: run_dir."""

    template = "{run_dir}: this attempt was taken away from us; nothing of it was begun here"


def own(run: RunDir, owner_fd: int | None) -> int:
    """Hold the owner lock, by the descriptor that was passed or by taking it.

    Returns:
        The descriptor, which no stage inherits. It is never closed or unlocked: the kernel does
        that when this process ends.

    Raises:
        OwnedError: another process holds the lock.
        BadFileError: the descriptor is not this run's owner file.
    """
    if owner_fd is None:
        fd = open_regular(run.owner, os.O_RDWR | os.O_CREAT)
    else:
        fd = owner_fd
        _check(fd, run)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)  # succeeds on what our starter locked
    except BlockingIOError:
        if owner_fd is None:
            os.close(fd)
        raise OwnedError(run_dir=run.path) from None
    return fd


def own_by_claim(run: RunDir, claim: ClaimFile) -> None:
    """Hold the owner lock of a run that we have claimed, where its folder has locks.

    Raises:
        OwnedError: another process holds the lock.
        RevokedError: the claim was taken away meanwhile.
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
            break  # the claim alone has to do
    if claim.is_gone():
        raise RevokedError(run_dir=run.path)


def _check(fd: int, run: RunDir) -> None:
    try:
        os.set_inheritable(fd, False)
        mine = os.fstat(fd)
    except (OSError, OverflowError):
        raise BadFileError(path=run.owner, reason=f"is not open as descriptor {fd}") from None
    named = os.stat(run.owner, follow_symlinks=False)
    if (mine.st_dev, mine.st_ino) != (named.st_dev, named.st_ino):
        raise BadFileError(path=run.owner, reason=f"is not the file of descriptor {fd}")


def is_done(run: RunDir) -> bool:
    """Tell whether a run that we own has its verdict.

    Raises:
        PlacedError: it has none, but was begun.
        FileNotFoundError: it is no run.
    """
    reader = JournalReader(run.journal)
    facts = reader.read_new()
    if verdict_in(facts) is not None:
        return True
    if has_begun(run, facts, reader.bad_lines_count):
        raise PlacedError(run_dir=run.path)
    return False

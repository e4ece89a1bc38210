"""flock(2) as proof of life: the lease, owner locks, slots and callers.

A lock is held as long as its descriptor, or an inherited copy of it, is open. Holders close it and
never unlock: unlocking one copy unlocks them all.
"""

import fcntl
import os

from workers.records.files import open_regular
from workers.records.typed_errors import LockingBrokenError


def lock_fd(fd: int) -> int | None:
    """Take an exclusive flock on an open file.

    Returns:
        The descriptor; None, and it is closed, if another process holds the lock.

    Raises:
        OSError: the file system has no locks; the descriptor is closed.
    """
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    except OSError:
        os.close(fd)
        raise
    return fd


def take_flock(path: str) -> int | None:
    """Create a file if it is missing and take an exclusive flock on it.

    Returns:
        The descriptor; None if another process holds the lock.

    Raises:
        LockingBrokenError: the file system has no locks.
    """
    fd = open_regular(path, os.O_RDWR | os.O_CREAT)
    try:
        return lock_fd(fd)
    except OSError as error:
        raise LockingBrokenError(path=path, reason=error.strerror or str(error)) from None


def is_flocked(path: str) -> bool:
    """Whether a process holds the flock; False if the file is missing."""
    try:
        fd = open_regular(path, os.O_RDONLY)  # also works on a disk that is mounted read-only
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def prove_locking(directory: str) -> None:
    """Prove that two descriptors exclude each other in a directory.

    Raises:
        LockingBrokenError: they do not, so two supervisors could serve one root.
    """
    path = os.path.join(directory, "lease.probe")
    first = take_flock(path)
    if first is None:
        return  # another process does the same check at this moment, and has excluded us
    try:
        second = take_flock(path)
        if second is not None:
            os.close(second)
            raise LockingBrokenError(path=path, reason="two holders at once")
    finally:
        os.close(first)

"""flock(2) as proof of life: the lease and the owner locks. No dependency; readers need it.

A lock lives as long as its descriptor, or an inherited copy of it, is open. Holders close; they
never unlock, since unlocking one copy unlocks them all.
"""

import fcntl
import os

from workers.records.files import open_regular, take_lock
from workers.records.typed_errors import LockingBrokenError


def take_flock(path: str) -> int | None:
    """Take an exclusive flock for as long as the descriptor, or a copy of it, is open.

    Holders close it; they never unlock, since unlocking one copy unlocks them all.

    Returns:
        The descriptor, or None where another process holds the lock.
    """
    fd = open_regular(path, os.O_RDWR | os.O_CREAT)
    try:
        return take_lock(fd)
    except OSError as error:
        raise LockingBrokenError(path=path, reason=error.strerror or str(error)) from None


def is_flocked(path: str) -> bool:
    """Tell whether some process holds the flock; False where the file is missing."""
    try:
        fd = open_regular(path, os.O_RDONLY)  # also where the disk is mounted read-only
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
    """Prove that two descriptors exclude each other here.

    Raises:
        LockingBrokenError: they do not: the promise of one supervisor could not be kept.
    """
    path = os.path.join(directory, "lease.probe")
    first = take_flock(path)
    if first is None:
        return  # a neighbour is proving it at this very moment: it excluded us
    try:
        second = take_flock(path)
        if second is not None:
            os.close(second)
            raise LockingBrokenError(path=path, reason="two holders at once")
    finally:
        os.close(first)

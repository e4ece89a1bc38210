"""The lock of a task's state: flock(2) through filelock, one try at a time.

The tries are spread by the core's backoff, so that a held lock never blocks the loop. A lock file
that merely lies there means nothing; one that was deleted or renamed while somebody holds it is
noticed by its inode, because a lock on no name excludes nobody. Other programs can take the same
lock with ``flock .runs/<task>.lock COMMAND``.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator

from filelock import FileLock, Timeout

from supervisor.errors import LockingBrokenError
from workers.records.files import FILE_MODE, open_regular


@contextlib.contextmanager
def state_lock(path: str) -> Iterator[bool]:
    """Try a task's lock once, and hold it for the block where it was got.

    Args:
        path: the lock file; made where it is missing, never removed.

    Yields:
        True where the lock is held, False where another process holds it.

    Raises:
        OSError: the lock file cannot be opened (a link, a directory, no permission).
    """
    lock = FileLock(path, timeout=0, mode=FILE_MODE, thread_local=False, fallback_to_soft=False)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        yield False
        return
    try:
        yield _still_named(path)
    finally:
        lock.release()


def _still_named(path: str) -> bool:
    """Another process cannot hold this lock too: the name still leads to a file that is locked."""
    try:
        fd = open_regular(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def take_flock(path: str) -> int | None:
    """Take an exclusive flock for as long as the descriptor, or a copy of it, is open.

    Holders close it; they never unlock, since unlocking one copy unlocks them all.

    Returns:
        The descriptor, or None where another process holds the lock.
    """
    fd = open_regular(path, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    except OSError as error:
        os.close(fd)
        raise LockingBrokenError(path=path, why=error.strerror or str(error)) from None
    return fd


def is_flocked(path: str) -> bool:
    """Tell whether some process holds the flock; False where the file is missing."""
    try:
        fd = open_regular(path, os.O_RDWR)
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
            raise LockingBrokenError(path=path, why="two holders at once")
    finally:
        os.close(first)

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

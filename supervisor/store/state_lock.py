"""The lock of a task's state: flock(2) through filelock, one try at a time.

The core's backoff spreads the attempts, so a held lock never blocks the loop. The existence of the
lock file means nothing. A lock on a deleted or renamed file excludes nobody, so the name is checked
after the lock was taken, and again right before the file that it guards is replaced. Other programs
can take the same lock with ``flock .runs/<task>.lock COMMAND``.
"""

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator

from filelock import FileLock, Timeout

from workers.records.files import FILE_MODE, open_regular
from workers.records.typed_errors import BadFileError, LockingBrokenError

Held = Callable[[], bool]
"""Whether a lock still excludes others: its name leads to the locked file."""


@contextlib.contextmanager
def state_lock(path: str) -> Iterator[Held | None]:
    """Try a task's lock once; if it is free, hold it for the block.

    Args:
        path: the lock file; created if it is missing, never removed.

    Yields:
        A check whether it is still held; None if another process holds it.

    Raises:
        LockingBrokenError: flock does not work there, or the path is not a regular file.
        OSError: the lock file cannot be opened (a link, a directory, no permission).
    """
    lock = FileLock(path, timeout=0, mode=FILE_MODE, thread_local=False, fallback_to_soft=False)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        yield None
        return
    except NotImplementedError as error:  # filelock's error for ENOSYS
        raise LockingBrokenError(path=path, reason=str(error)) from None
    try:
        yield (lambda: _still_named(path)) if _still_named(path) else None
    finally:
        lock.release()


def _still_named(path: str) -> bool:
    """Whether the name leads to a locked file, so that no other process can hold the lock."""
    try:
        fd = open_regular(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    except BadFileError as error:
        raise LockingBrokenError(path=path, reason=str(error.facts["reason"])) from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False

"""``.supervisor/callers/<run-id>``: the lock that proves that a caller is there to host its run.

``supervisor run`` makes the file before it submits the run, and passes the locked descriptor to the
process that hosts the run. The lock is released when the last process with the descriptor ends, so
a free lock, or a missing file, means that nobody will begin the run. The file is removed by the
host once it has claimed the run, or by the supervisor when the run leaves the queue without having
begun: the host sees that its file has no name any more, and ends.

The file is never flushed: after a loss of power all callers are gone, as a missing file says.
"""

import contextlib
import os

from workers.records.atomic import temporary_name
from workers.records.files import CREATE, FILE_MODE, make_private, open_regular, take_lock
from workers.records.layout import Layout


def announce_caller(layout: Layout, run_id: str) -> int:
    """Make the lock file of a run that is going to be submitted.

    It appears under its name already locked, so that no sweep takes it for a dead caller's.

    Returns:
        The locked descriptor, which no child inherits by itself.

    Raises:
        OSError: the file could not be made or locked.
        BadFileError: the directory is not ours.
    """
    make_private(layout.runs, layout.control, layout.callers)
    path = layout.caller(run_id)
    temporary = os.path.join(layout.callers, temporary_name(run_id))
    opened = os.open(temporary, CREATE, FILE_MODE)
    try:
        fd = take_lock(opened)
        if fd is None:
            raise BlockingIOError(f"{temporary} is locked by another process")
        os.rename(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    return fd


def has_caller(layout: Layout, run_id: str) -> bool:
    """Tell whether a process is there that will begin the run.

    Raises:
        OSError: the file cannot be checked.
        BadFileError: something else is in its place.
    """
    try:
        fd = open_regular(layout.caller(run_id), os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError):
        return False
    taken = take_lock(fd)
    if taken is None:
        return True
    os.close(taken)
    return False


def remove_caller(layout: Layout, run_id: str) -> None:
    """Remove the lock file: the run has begun, or never will. A refusal is left to the sweep."""
    with contextlib.suppress(OSError):
        os.unlink(layout.caller(run_id))


def is_removed(fd: int) -> bool:
    """Tell whether the lock file that is open as ``fd`` was removed."""
    return os.fstat(fd).st_nlink == 0


def sweep_callers(layout: Layout) -> int:
    """Remove the files of callers that are gone, and return how many there were."""
    count = 0
    with contextlib.suppress(OSError):
        for name in os.listdir(layout.callers):
            with contextlib.suppress(OSError):
                if not name.startswith(".") and not has_caller(layout, name):
                    os.unlink(os.path.join(layout.callers, name))
                    count += 1
    return count

"""``.supervisor/callers/<run-id>``: the lock that proves that a run's caller is alive to host it.

``supervisor run`` creates the file before it submits the run, and passes the locked descriptor to
the process that hosts the run. The kernel releases the lock when the last process with the
descriptor ends, so a free lock or a missing file means that nothing will begin the run. The host
removes the file once it has claimed the run; the supervisor removes it if the run leaves the queue
before it begins, and the host, whose file has no name any more, ends.

The file is never flushed: after a power failure all callers are gone, and so is their file.
"""

import contextlib
import os

from workers.records.atomic import create_locked
from workers.records.files import make_private, open_regular
from workers.records.flock import lock_fd
from workers.records.layout import Layout


def announce_caller(layout: Layout, run_id: str) -> int:
    """Create the lock file of a run that is going to be submitted.

    It appears under its name already locked, so no sweep takes its caller for dead.

    Returns:
        The locked descriptor, which children do not inherit.

    Raises:
        OSError: the file cannot be created or locked.
        BadFileError: the directory is not ours.
    """
    make_private(layout.runs, layout.control, layout.callers)
    return create_locked(layout.caller(run_id))


def has_caller(layout: Layout, run_id: str) -> bool:
    """Whether a living process will begin the run.

    Raises:
        OSError: the file cannot be checked.
        BadFileError: something else is in its place.
    """
    try:
        fd = lock_fd(open_regular(layout.caller(run_id), os.O_RDONLY))
    except (FileNotFoundError, NotADirectoryError):
        return False
    if fd is None:
        return True
    os.close(fd)
    return False


def remove_caller(layout: Layout, run_id: str) -> None:
    """Remove the lock file: the run has begun or never will. If it stays, the sweep removes it."""
    with contextlib.suppress(OSError):
        os.unlink(layout.caller(run_id))


def is_removed(fd: int) -> bool:
    """Whether the lock file that is open as ``fd`` was removed."""
    return os.fstat(fd).st_nlink == 0


def sweep_callers(layout: Layout) -> int:
    """Remove the files of dead callers and return their number."""
    count = 0
    with contextlib.suppress(OSError):
        for name in os.listdir(layout.callers):
            with contextlib.suppress(OSError):
                if not name.startswith(".") and not has_caller(layout, name):
                    os.unlink(os.path.join(layout.callers, name))
                    count += 1
    return count

"""A temporary supervisor for the runs that callers wait for, started if nobody serves the root.

``supervisor run`` takes the lease's lock itself and passes the locked descriptor on, so that of
fifty at once exactly one starts it. It is ``supervisor start --once`` in a session of its own: it
admits runs and records their verdicts, while each run's caller hosts the run itself. It ends when
nobody waits any more. If it ends earlier, with the caller that started it, another waiting caller
starts the next one; a ``supervisor start`` takes its place (``lease``).
"""

import contextlib
import os
import subprocess
import sys

from supervisor.config.find_root import absolute
from workers.processes.inherited import POPEN_FDS_COUNT, inherited_limits
from workers.records.files import FILE_MODE, make_private
from workers.records.flock import is_flocked, take_flock
from workers.records.layout import Layout


def start_ondemand_supervisor(
    layout: Layout, config: str | None
) -> "subprocess.Popen[bytes] | None":
    """Start a temporary supervisor unless the root is served, or a ``start`` is taking it over.

    Args:
        layout: the root.
        config: ``--config`` as the operator gave it.

    Returns:
        The process, which the caller must ``poll``; None if the root is served, or about to be.

    Raises:
        OSError: it could not be started.
        BadFileError: ``.runs/`` is not ours.
    """
    make_private(layout.runs, layout.control)
    if is_flocked(layout.lease_next):
        return None
    fd = take_flock(layout.lease_lock)
    if fd is None:
        return None
    with contextlib.suppress(FileNotFoundError):
        os.unlink(layout.lease)  # of a holder that was killed; it must not speak for the new one
    log = os.open(
        os.path.join(layout.control, "helper.log"),
        os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC,
        FILE_MODE,
    )
    words = [sys.executable, "-I", "-m", "supervisor", "start", "--once", "--lease-fd", str(fd)]
    words += ["--root", layout.root]
    words += ["--config", absolute(config)] if config else []
    try:
        with inherited_limits(POPEN_FDS_COUNT):
            return subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(fd,),
                cwd="/",  # whatever becomes of ours
                start_new_session=True,
            )
    finally:
        os.close(fd)
        os.close(log)

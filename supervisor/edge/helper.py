"""A supervisor for the runs that somebody waits for, started by whoever finds none serving.

``supervisor run`` takes the lease's lock itself and hands the locked descriptor on, so that of
fifty at once exactly one starts a helper, and nobody who was refused has to guess. The helper is
``supervisor start --once`` in a session of its own: it ends when nobody waits any more, and the
``run`` that started it may end, or be killed, before that.
"""

import os
import subprocess
import sys

from supervisor.edge.flock import take_flock
from supervisor.plan.root import absolute
from workers.inherited import POPEN_FDS_COUNT, as_inherited
from workers.records.files import FILE_MODE, make_private
from workers.records.layout import Layout


def start_helper(layout: Layout, config: str | None) -> "subprocess.Popen[bytes] | None":
    """Start a helper unless the root is served.

    Args:
        layout: the root.
        config: ``--config`` as the operator gave it.

    Returns:
        The helper, which the caller must ``poll``; None where a supervisor holds the lease.

    Raises:
        OSError: it could not be started.
        BadFileError: ``.runs/`` is not ours.
    """
    make_private(layout.runs, layout.control)
    fd = take_flock(layout.lease_lock)
    if fd is None:
        return None
    log = os.open(
        os.path.join(layout.control, "helper.log"),
        os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC,
        FILE_MODE,
    )
    words = [sys.executable, "-I", "-m", "supervisor", "start", "--once", "--lease-fd", str(fd)]
    words += ["--root", layout.root]
    words += ["--config", absolute(config)] if config else []
    try:
        with as_inherited(POPEN_FDS_COUNT):
            return subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(fd,),
                start_new_session=True,
            )
    finally:
        os.close(fd)
        os.close(log)

"""A temporary supervisor for callers that wait for their runs, if no other serves the root.

The caller takes the lease's lock and passes the locked descriptor on, so that exactly one of fifty
simultaneous callers starts one. It is ``supervisor start --once`` in a session of its own: it
admits runs and records their verdicts, while each caller hosts its run. It exits when no caller
waits any more. If it dies earlier, another caller starts the next one. A ``supervisor start``
replaces it (``lease``).
"""

import contextlib
import os
import subprocess
import sys
from typing import Final

from supervisor.config.find_root import absolute
from supervisor.errors import OndemandSupervisorError
from workers.processes.inherited import POPEN_FDS_COUNT, inherited_limits
from workers.records.files import FILE_MODE, make_private
from workers.records.flock import is_flocked, take_flock
from workers.records.layout import Layout

TRIES_COUNT: Final = 3  # more would not help


class OndemandSupervisor:
    """Keeps a root served while a caller waits.

    Args:
        layout: the root.
        config: ``--config``.
    """

    def __init__(self, layout: Layout, config: str | None) -> None:
        self._layout = layout
        self._config = config
        self._process: subprocess.Popen[bytes] | None = None
        self._failures_count = 0

    @property
    def _log(self) -> str:
        return os.path.join(self._layout.control, "helper.log")

    def ensure(self) -> None:
        """Start a temporary supervisor if none serves the root.

        Raises:
            OndemandSupervisorError: it exits without serving, three times.
            OSError: it could not be started.
            BadFileError: ``.runs/`` is not ours.
        """
        if self._process is not None:
            code = self._process.poll()
            if code is None:
                return
            self._process = None
            self._failures_count += code not in (0, 10, 11, 12)
            if self._failures_count >= TRIES_COUNT:
                raise OndemandSupervisorError(code=code, path=self._log)
        if not is_flocked(self._layout.lease_lock):
            self._process = self._start()

    def detach(self) -> None:
        """Let it run on; its exit status does not matter any more."""
        if self._process is not None:
            self._process.returncode = self._process.poll() or 0

    def _start(self) -> "subprocess.Popen[bytes] | None":
        """Start it; None if the root is served, or a ``start`` is taking it over."""
        layout = self._layout
        make_private(layout.runs, layout.control)
        if is_flocked(layout.lease_next):
            return None
        fd = take_flock(layout.lease_lock)
        if fd is None:
            return None
        with contextlib.suppress(FileNotFoundError):
            os.unlink(layout.lease)  # of a holder that was killed
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        log = os.open(self._log, flags, FILE_MODE)
        argv = [sys.executable, "-I", "-m", "supervisor", "start", "--once", "--lease-fd", str(fd)]
        argv += ["--root", layout.root]
        argv += ["--config", absolute(self._config)] if self._config else []
        try:
            with inherited_limits(POPEN_FDS_COUNT):
                return subprocess.Popen(
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=(fd,),
                    cwd="/",  # the caller's may be deleted
                    start_new_session=True,
                )
        finally:
            os.close(fd)
            os.close(log)

"""Start the process that hosts a caller's run (``workers.entry.caller_host``)."""

import contextlib
import os
import subprocess
import sys
from typing import Final

import workers
from supervisor.launchers.spawner import start_child
from workers.records.caller import announce_caller, remove_caller
from workers.records.layout import Layout
from workers.records.spec import RunSpec

# -S: it needs nothing of site, so this is the only directory that modules come from.
_PROGRAM: Final = (
    "import sys; sys.path.append(sys.argv[1]); from workers.entry.caller_host import main; "
    "main(sys.argv[2], sys.argv[3], int(sys.argv[4]))"
)


class HostProcess:
    """The process that waits to begin a run and then hosts it; it outlives its caller.

    Raises:
        OSError: it could not be started.
        BadFileError: ``.runs/`` is not ours.
    """

    def __init__(self, layout: Layout, spec: RunSpec) -> None:
        self._layout = layout
        self._run_id = spec.run_id
        fd = announce_caller(layout, spec.run_id)
        home = os.path.dirname(os.path.dirname(os.path.abspath(workers.__file__)))
        run_dir = os.path.realpath(layout.run_dir(spec.task_id, spec.run_id).path)
        argv = [sys.executable, "-I", "-S", "-c", _PROGRAM, home, layout.root, run_dir, str(fd)]
        try:
            self._process = start_child(
                argv,
                inherited_fd=fd,
                stderr_path=os.path.join(layout.control, "workers.log"),
                cwd="/",  # so that it keeps no directory of the caller busy
                stdin=subprocess.PIPE,
            )
        except OSError:
            remove_caller(layout, spec.run_id)
            raise
        finally:
            os.close(fd)

    def submitted(self) -> None:
        """The run is on disk: the host no longer needs us."""
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):  # the host is gone: the supervisor cancels the run
                os.write(self._process.stdin.fileno(), b"!")
            self._process.stdin.close()

    def dismiss(self) -> None:
        """The run will not be accepted: the host exits without beginning it."""
        remove_caller(self._layout, self._run_id)
        if self._process.stdin is not None:
            self._process.stdin.close()

    def wait(self, timeout_s: float) -> None:
        """Wait for the host to exit, soon after its run has ended; at most ``timeout_s``."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_s)
        if self._process.returncode is None:
            self._process.returncode = 0  # it continues; the verdict is in the run's records

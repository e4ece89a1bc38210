"""The task that an engine runs: start the worker of an attempt on this host and wait for it.

For engines that call functions (Dask). The package is installed on every host, so a task refers to
this module and ships no code.
"""

import os
import subprocess
import sys
import tempfile
from typing import Final

_STDERR_LIMIT_BYTES: Final = 2000  # of the end of a worker's stderr, which says why it cannot begin


def run_attempt(run_dir: str, attempt: int) -> tuple[int, str]:
    """Start the worker program for an attempt and wait until its keeper has ended.

    It leads a session of its own and outlives this process; its files show its progress.

    Args:
        run_dir: the run's directory, by the same path on every host.
        attempt: the attempt's number, from 1.

    Returns:
        The keeper's exit code, negative for a signal, and the end of its stderr.

    Raises:
        OSError: it could not be started.
    """
    argv = [sys.executable, "-I", "-m", "workers", run_dir, "--claim", str(attempt)]
    with tempfile.TemporaryFile() as stderr:
        keeper = subprocess.Popen(
            argv,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            start_new_session=True,
        )
        code = keeper.wait()
        size = stderr.seek(0, os.SEEK_END)
        stderr.seek(max(0, size - _STDERR_LIMIT_BYTES))
        return code, stderr.read().decode("utf-8", "replace").strip()

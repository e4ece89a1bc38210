"""What an engine's task is: start the worker of an attempt on this host, and wait for it.

For engines that call functions (Dask). The package is installed on every host, so a task names this
module and ships no code of ours.
"""

import os
import subprocess
import sys
import tempfile
from typing import Final

_WORDS_LIMIT_BYTES: Final = 2000  # of what a worker that could not begin said last


def run_attempt(run_dir: str, attempt: int) -> tuple[int, str]:
    """Start the worker program for an attempt and wait until its keeper has ended.

    It leads a session of its own and outlives whoever called us; its files tell how it goes.

    Args:
        run_dir: the run's directory, by the same path on every host.
        attempt: which attempt, from 1.

    Returns:
        The keeper's exit code, negative for a signal, and the end of what it said.

    Raises:
        OSError: it could not be started.
    """
    words = [sys.executable, "-I", "-m", "workers", run_dir, "--claim", str(attempt)]
    with tempfile.TemporaryFile() as said:
        keeper = subprocess.Popen(
            words,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
            start_new_session=True,
        )
        code = keeper.wait()
        size = said.seek(0, os.SEEK_END)
        said.seek(max(0, size - _WORDS_LIMIT_BYTES))
        return code, said.read().decode("utf-8", "replace").strip()

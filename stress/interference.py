"""Interference with a round: a gate at which many stages wait, and a holder of the task's lock."""

import os
import select
import subprocess
import sys
from typing import Final

from stress.scenario import ARRIVED, GATE

_HOG: Final = (
    "import fcntl, os, sys; fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600); "
    "fcntl.flock(fd, fcntl.LOCK_EX); print('held', flush=True); sys.stdin.read()"
)


class NotReached(Exception):
    """An expected event did not happen in time."""


class Gate:
    """A file that stages wait for without polling, so that all of them end at the same instant.

    The closed gate is a FIFO that we hold open, so readers wait. The open gate is an empty plain
    file, so late stages do not wait.

    Args:
        root: the root; holds the gate and a file per waiting stage.
    """

    def __init__(self, root: str) -> None:
        self._path, self._arrived = os.path.join(root, GATE), os.path.join(root, ARRIVED)
        os.makedirs(self._arrived, exist_ok=True)
        earlier = [os.path.join(self._arrived, name) for name in os.listdir(self._arrived)]
        for path in (*earlier, self._path):
            if os.path.lexists(path):
                os.unlink(path)
        os.mkfifo(self._path, 0o600)
        self._fd: int | None = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)

    def waiting_count(self) -> int:
        """The number of stages that have reached the gate."""
        return len(os.listdir(self._arrived))

    def open(self) -> None:
        """Open the gate, for good."""
        if self._fd is None:
            return
        made = os.open(f"{self._path}.open", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.close(made)
        os.rename(f"{self._path}.open", self._path)
        os.close(self._fd)
        self._fd = None


class LockHolder:
    """A process that takes a lock and holds it; it ends when this process ends.

    Args:
        path: the lock file.
    """

    def __init__(self, path: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-c", _HOG, path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def holds(self, within_s: float) -> bool:
        """Wait until the lock is held; False after the given seconds."""
        said = self._process.stdout
        if said is None or not select.select([said], [], [], within_s)[0]:
            return False
        return os.read(said.fileno(), 16) == b"held\n"

    def release(self) -> None:
        """End the process, which releases the lock."""
        self._process.kill()
        self._process.communicate()

"""What meddles with a round: a gate that many stages wait at, and who takes the task's lock."""

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


class Missed(Exception):
    """What was waited for did not come."""


class Gate:
    """A file that stages wait for without polling, so that all of them end in one instant.

    While it is shut it is a FIFO that we hold open: who reads it waits. Open, it is an empty plain
    file, so that who comes late does not wait.

    Args:
        root: the root; the gate and a file per waiting stage are made in it.
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
        """How many stages have come to the gate."""
        return len(os.listdir(self._arrived))

    def open(self) -> None:
        """Let everybody go; an open gate stays open."""
        if self._fd is None:
            return
        made = os.open(f"{self._path}.open", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.close(made)
        os.rename(f"{self._path}.open", self._path)
        os.close(self._fd)
        self._fd = None


class Hog:
    """Another process that takes a lock and keeps it; it ends with us, whatever happens to us.

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
        """Wait, at most so many seconds, until it holds the lock."""
        said = self._process.stdout
        if said is None or not select.select([said], [], [], within_s)[0]:
            return False
        return os.read(said.fileno(), 16) == b"held\n"

    def release(self) -> None:
        """End it, and with it its lock."""
        self._process.kill()
        self._process.communicate()

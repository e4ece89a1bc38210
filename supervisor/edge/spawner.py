"""Starting workers. The owner lock is taken first and inherited, so no worker is ever unowned.

``ExecLauncher`` starts ``python -I -m workers RUN_DIR --owner-fd N`` in a session of its own: a
terminal's Ctrl-C reaches the supervisor alone, and the worker outlives a killed supervisor. A
launcher is a seam of few methods, so that workers may come from elsewhere.
"""

import contextlib
import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from workers.containment import Process
from workers.records.identity import open_pidfd
from workers.records.layout import RunDir
from workers.records.proc import proc_stat

HELD_BACK: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)  # workers.control takes them
TRANSIENT: Final = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchedWorker:
    """A worker of this host.

    Attributes:
        pid: its process id.
        start_ticks: with the pid, which process is meant.
        pidfd: becomes readable when it exits; None where it is gone already.
        child: where it is our own child, what must be reaped.
    """

    pid: int
    start_ticks: int
    pidfd: int | None
    child: "subprocess.Popen[bytes] | None" = None

    @property
    def process(self) -> Process:
        """Which process it is."""
        return self.pid, self.start_ticks

    def reap(self) -> None:
        """Let the kernel forget an exited child, and close the descriptor. Call once."""
        if self.pidfd is not None:
            os.close(self.pidfd)
        if self.child is not None:
            self.child.wait()


@dataclass(frozen=True, slots=True)
class LaunchFailure:
    """No worker came to be; ``transient`` where trying again may help."""

    reason: str
    transient: bool


@contextlib.contextmanager
def _held_back() -> Iterator[None]:
    """Let a child begin with these signals blocked: what comes early waits for its handlers."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HELD_BACK)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Launcher(Protocol):
    """What the spawner needs of a way to start workers."""

    def launch(self, run: RunDir, owner_fd: int) -> LaunchedWorker | LaunchFailure:
        """Start a worker that inherits the locked ``owner_fd``; the caller closes its copy."""


class ExecLauncher:
    """Starts each worker as a fresh interpreter.

    Args:
        stderr_path: where a worker that cannot even begin leaves its words.
    """

    def __init__(self, stderr_path: str) -> None:
        self._stderr_path = stderr_path

    def launch(self, run: RunDir, owner_fd: int) -> LaunchedWorker | LaunchFailure:
        """Start a worker; see Launcher."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            stderr = os.open(self._stderr_path, flags, 0o600)
        except OSError as error:
            return LaunchFailure(f"{self._stderr_path}: {error.strerror}", transient=True)
        try:
            with _held_back():
                child = subprocess.Popen(
                    [sys.executable, "-I", "-m", "workers", run.path, "--owner-fd", str(owner_fd)],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=stderr,
                    pass_fds=(owner_fd,),
                    start_new_session=True,
                )
        except OSError as error:
            name = errno.errorcode.get(error.errno or 0, "error")
            return LaunchFailure(f"{name}: {error.strerror}", error.errno in TRANSIENT)
        finally:
            os.close(stderr)
        stat = proc_stat(child.pid)
        if stat is None:
            raise RuntimeError("an unreaped child is missing from /proc")
        pidfd = open_pidfd(child.pid, stat.start_ticks)
        return LaunchedWorker(pid=child.pid, start_ticks=stat.start_ticks, pidfd=pidfd, child=child)

"""Starting workers. The owner lock is taken first and inherited, so no worker is ever unowned.

``ExecSpawner`` starts ``python -I -m workers RUN_DIR --owner-fd N`` in a session of its own: a
terminal's Ctrl-C reaches the supervisor alone, and the worker outlives a killed supervisor. A
launcher is a seam of few methods, so that workers may come from elsewhere.
"""

import contextlib
import errno
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Protocol

from workers.processes.inherited import POPEN_FDS_COUNT, inherited_limits
from workers.processes.spawn import TRANSIENT
from workers.processes.tree import Process
from workers.records.dataclass import dataclass
from workers.records.files import open_regular
from workers.records.identity import open_pidfd
from workers.records.layout import RunDir
from workers.records.proc import proc_stat
from workers.records.typed_errors import TypedError
from workers.stages.control import STOP_SIGNALS

# Counted in /proc/PID/fd: a supervisor at rest holds 14, and 5 more for an instant while it spawns
# or writes; one more, a pidfd, per worker.
BASE_DESCRIPTORS_COUNT: Final = 32
_RESERVE_COUNT: Final = 2  # a pidfd, and one file to read: a child must never go unwatched


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchedWorker:
    """A worker of this host.

    Attributes:
        pid: its process id.
        start_ticks: with the pid, which process is meant.
        pidfd: becomes readable when it exits; None where it is gone already.
        collect: where we started it: reaps it and tells its exit code, negative for a signal.
    """

    pid: int
    start_ticks: int
    pidfd: int | None
    collect: Callable[[], int | None] = lambda: None

    @property
    def process(self) -> Process:
        """Which process it is."""
        return self.pid, self.start_ticks

    def reap(self) -> int | None:
        """Take leave of an exited worker. Call once.

        Returns:
            Its exit code, negative for a signal; None where nobody can tell.
        """
        if self.pidfd is not None:
            os.close(self.pidfd)
        return self.collect()


@dataclass(frozen=True, slots=True)
class LaunchFailure:
    """No worker came to be; ``transient`` where trying again may help."""

    reason: str
    transient: bool


def refused(number: int) -> LaunchFailure:
    """What the system's refusal means, by its errno."""
    name = errno.errorcode.get(number, "error")
    return LaunchFailure(f"{name}: {os.strerror(number)}", number in TRANSIENT)


@contextlib.contextmanager
def _held_back() -> Iterator[None]:
    """Let a child begin with these signals blocked: what comes early waits for its handlers."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Spawner(Protocol):
    """What the spawner needs of a way to start workers."""

    def launch(self, run: RunDir, owner_fd: int) -> LaunchedWorker | LaunchFailure:
        """Start a worker that inherits the locked ``owner_fd``; the caller closes its copy."""

    def helpers(self) -> tuple[Process, ...]:
        """Children of ours that are no workers; what is below them is of living workers."""

    def close(self) -> None:
        """Let go of what helps to launch; the workers go on."""


def start_child(
    words: Sequence[str],
    *,
    inherited_fd: int,
    stderr_path: str | None,
    cwd: str | None = None,
    stdin: int = subprocess.DEVNULL,
) -> "subprocess.Popen[bytes]":
    """Start a child of ours in a session of its own.

    It is not started where afterwards no descriptor would be left to watch it with.

    Args:
        words: its command line.
        inherited_fd: the one descriptor that it gets beside the standard ones.
        stderr_path: where its last words go, None for nowhere; that they cannot is no reason not
            to begin.
        cwd: its working directory; None for ours.
        stdin: as subprocess has it.

    Raises:
        OSError: it could not be started.
    """
    with contextlib.ExitStack() as held:
        stderr = subprocess.DEVNULL
        with contextlib.suppress(OSError, TypedError):
            if stderr_path is not None:
                stderr = open_words(stderr_path)
                held.callback(os.close, stderr)
        for _ in range(_RESERVE_COUNT):
            held.callback(os.close, os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
        held.enter_context(_held_back())
        held.enter_context(inherited_limits(POPEN_FDS_COUNT))
        return subprocess.Popen(
            words,
            stdin=stdin,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            pass_fds=(inherited_fd,),
            cwd=cwd,
            start_new_session=True,
        )


def open_words(path: str) -> int:
    """Open the file of last words; errors as open_regular."""
    return open_regular(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def runs_at_once(max_runs: int) -> int:
    """How many of ``max_runs`` workers can be watched with the descriptors that we may open."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if soft == resource.RLIM_INFINITY:
        return max_runs
    return min(max_runs, max(1, soft - BASE_DESCRIPTORS_COUNT))


class ExecSpawner:
    """Starts each worker as a fresh interpreter.

    Args:
        stderr_path: where a worker that cannot even begin leaves its words.
    """

    def __init__(self, stderr_path: str) -> None:
        self._stderr_path = stderr_path

    def launch(self, run: RunDir, owner_fd: int) -> LaunchedWorker | LaunchFailure:
        """Start a worker; see Launcher."""
        words = [sys.executable, "-I", "-m", "workers", run.path, "--owner-fd", str(owner_fd)]
        try:
            child = start_child(words, inherited_fd=owner_fd, stderr_path=self._stderr_path)
        except OSError as error:
            return refused(error.errno or 0)
        stat = proc_stat(child.pid)
        if stat is None:
            raise RuntimeError("an unreaped child is missing from /proc")
        pidfd = open_pidfd(child.pid, stat.start_ticks)
        return LaunchedWorker(
            pid=child.pid, start_ticks=stat.start_ticks, pidfd=pidfd, collect=child.wait
        )

    def helpers(self) -> tuple[Process, ...]:
        """None."""
        return ()

    def close(self) -> None:
        """Nothing helps."""

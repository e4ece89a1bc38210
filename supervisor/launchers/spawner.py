"""Starting worker processes on this host.

The owner lock is taken first and inherited, so no worker is ever without an owner. ``ExecSpawner``
starts ``python -I -m workers RUN_DIR --owner-fd N`` in a session of its own: a terminal's Ctrl-C
reaches only the supervisor, and the worker outlives a killed supervisor.
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

# Counted in /proc/PID/fd: an idle supervisor has 14 open, and 5 more while it spawns or writes;
# each worker needs one, its pidfd.
BASE_DESCRIPTORS_COUNT: Final = 32
_RESERVE_COUNT: Final = 2  # a pidfd, and one file to read: a child must never be unwatched


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchedWorker:
    """A worker of this host.

    Attributes:
        pid: its process id.
        start_ticks: identifies the process together with the pid.
        pidfd: becomes readable when it exits; None if it is gone already.
        collect: if we started it: reaps it and returns its exit code, negative for a signal.
    """

    pid: int
    start_ticks: int
    pidfd: int | None
    collect: Callable[[], int | None] = lambda: None

    @property
    def process(self) -> Process:
        """Pid and start ticks."""
        return self.pid, self.start_ticks

    def reap(self) -> int | None:
        """Reap an exited worker and close its pidfd. Call once.

        Returns:
            Its exit code, negative for a signal; None if unknown.
        """
        if self.pidfd is not None:
            os.close(self.pidfd)
        return self.collect()


@dataclass(frozen=True, slots=True)
class LaunchFailure:
    """No worker was started; ``transient`` if another try may help."""

    reason: str
    transient: bool


def launch_failure(number: int) -> LaunchFailure:
    """The failure that an errno means."""
    name = errno.errorcode.get(number, "error")
    return LaunchFailure(f"{name}: {os.strerror(number)}", number in TRANSIENT)


@contextlib.contextmanager
def _stop_signals_blocked() -> Iterator[None]:
    """Let a child begin with these signals blocked: an early one waits for its handlers."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Spawner(Protocol):
    """A way to start worker processes."""

    def launch(self, run: RunDir, owner_fd: int) -> LaunchedWorker | LaunchFailure:
        """Start a worker that inherits the locked ``owner_fd``; the caller closes its copy."""

    def helpers(self) -> tuple[Process, ...]:
        """Children of ours that are not workers; their descendants belong to living workers."""

    def close(self) -> None:
        """End the helpers; the workers continue."""


def start_child(
    argv: Sequence[str],
    *,
    inherited_fd: int,
    stderr_path: str | None,
    cwd: str | None = None,
    stdin: int = subprocess.DEVNULL,
) -> "subprocess.Popen[bytes]":
    """Start a child in a session of its own.

    It is not started if no descriptor would be left to watch it with.

    Args:
        argv: its command line.
        inherited_fd: the one descriptor that it gets in addition to the standard ones.
        stderr_path: the file for its stderr; /dev/null if None or if the file cannot be opened.
        cwd: its working directory; None for ours.
        stdin: as for subprocess.

    Raises:
        OSError: it could not be started.
    """
    with contextlib.ExitStack() as held:
        stderr = subprocess.DEVNULL
        with contextlib.suppress(OSError, TypedError):
            if stderr_path is not None:
                stderr = open_log(stderr_path)
                held.callback(os.close, stderr)
        for _ in range(_RESERVE_COUNT):
            held.callback(os.close, os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
        held.enter_context(_stop_signals_blocked())
        held.enter_context(inherited_limits(POPEN_FDS_COUNT))
        return subprocess.Popen(
            argv,
            stdin=stdin,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            pass_fds=(inherited_fd,),
            cwd=cwd,
            start_new_session=True,
        )


def open_log(path: str) -> int:
    """Open a file to append stderr to; errors as open_regular."""
    return open_regular(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def runs_at_once(max_runs: int) -> int:
    """How many of ``max_runs`` workers can be watched within the limit of open files."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if soft == resource.RLIM_INFINITY:
        return max_runs
    return min(max_runs, max(1, soft - BASE_DESCRIPTORS_COUNT))


class ExecSpawner:
    """Starts each worker as a new interpreter."""

    def __init__(self, stderr_path: str) -> None:
        self._stderr_path = stderr_path

    def launch(self, run: RunDir, owner_fd: int) -> LaunchedWorker | LaunchFailure:
        """Start a worker; see Spawner."""
        argv = [sys.executable, "-I", "-m", "workers", run.path, "--owner-fd", str(owner_fd)]
        try:
            child = start_child(argv, inherited_fd=owner_fd, stderr_path=self._stderr_path)
        except OSError as error:
            return launch_failure(error.errno or 0)
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
        """Does nothing."""

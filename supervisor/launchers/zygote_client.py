"""Workers by fork: the zygote, a process that has imported the worker, forks one per run.

A fork costs a thirtieth of an interpreter's start. The zygote ends with the supervisor. If it dies
or does not answer, the next launch starts a new one; if none ever answers, workers are started by
exec. A launch without an answer may have started a worker: the owner lock, which that worker would
hold, decides at the next try.
"""

import contextlib
import os
import socket
import sys
from typing import Final

import workers
from supervisor.launchers.spawner import (
    LaunchedWorker,
    LaunchFailure,
    Spawner,
    launch_failure,
    open_log,
    start_child,
)
from workers.processes.fork_protocol import ENDED, STARTED, STDERR, receive_message, send_message
from workers.processes.tree import Process
from workers.records.layout import RunDir
from workers.records.proc import proc_stat
from workers.records.typed_errors import TypedError

ANSWER_S: Final = 10.0  # a fork takes 1 ms; a machine that thrashes needs longer
STATUS_S: Final = 1.0  # for the exit status of a dead worker, which is only for messages
FAILURES_COUNT: Final = 3  # one less than the tries of a launch (config_reloader.LAUNCH)

# -S: the zygote needs nothing of site, so this is the only directory that modules come from.
_PROGRAM: Final = (
    "import sys; sys.path.append(sys.argv[2]); "
    "from workers.entry.zygote import main; main(int(sys.argv[1]))"
)
_TITLE_ROOM: Final = " " * 512  # a worker writes its run's directory over our arguments


class ZygoteLost(Exception):
    """The zygote is dead, or was killed because it did not answer."""


class ZygoteProcess:
    """One zygote.

    Raises:
        OSError: it could not be started.
    """

    def __init__(self, stderr_path: str | None) -> None:
        self._sock, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._codes: dict[int, int] = {}
        home = os.path.dirname(os.path.dirname(os.path.abspath(workers.__file__)))
        with theirs:
            fd = theirs.fileno()
            argv = [sys.executable, "-I", "-S", "-c", _PROGRAM, str(fd), home, _TITLE_ROOM]
            try:
                self._process = start_child(argv, inherited_fd=fd, stderr_path=stderr_path)
            except OSError:
                self._sock.close()
                raise
        stat = proc_stat(self._process.pid)  # ours to reap, so it exists
        self._start_ticks = 0 if stat is None else stat.start_ticks

    @property
    def process(self) -> Process:
        """Pid and start ticks."""
        return self._process.pid, self._start_ticks

    def redirect_stderr(self, path: str) -> None:
        """Set the file for the stderr of the zygote and its future workers, if possible."""
        with contextlib.suppress(OSError, TypedError):
            fd = open_log(path)
            try:
                send_message(self._sock, STDERR, fd=fd)
            finally:
                os.close(fd)

    def fork(self, run_dir: str, owner_fd: int) -> "tuple[int, int, int] | int":
        """Fork a worker.

        Returns:
            Its pid, start ticks and pidfd; or the errno of the failure.

        Raises:
            ZygoteLost: there may be a worker or not.
        """
        try:
            send_message(self._sock, os.fsencode(run_dir), fd=owner_fd)
        except OSError:
            raise self._lose() from None
        fields, pidfd = self._receive(ANSWER_S)
        if fields[0] != STARTED:
            return int(fields[1])
        if pidfd is None:
            raise self._lose()
        pid = int(fields[1])
        self._codes.pop(pid, None)  # of an earlier process with this pid
        return pid, int(fields[2]), pidfd

    def exit_code_of(self, pid: int) -> int | None:
        """The exit code of an exited worker. Raises ZygoteLost."""
        while pid not in self._codes:
            self._receive(STATUS_S, only=ENDED)
        return self._codes.pop(pid)

    def _receive(self, timeout_s: float, only: bytes = b"") -> tuple[list[bytes], int | None]:
        """The next answer; exit codes that arrive before it are stored."""
        while True:
            self._sock.settimeout(timeout_s)
            try:
                text, fd = receive_message(self._sock)
            except OSError:
                text, fd = b"", None
            if not text:
                raise self._lose()
            fields = text.split()
            if fields[0] == ENDED:
                self._codes[int(fields[1])] = int(fields[2])
            if fields[0] != ENDED or only == ENDED:
                return fields, fd

    def _lose(self) -> ZygoteLost:
        self.close()
        return ZygoteLost()

    def close(self) -> None:
        """Kill it; its workers continue."""
        self._sock.close()
        self._process.kill()
        self._process.wait()


class ZygoteSpawner:
    """Starts workers by fork; see Spawner.

    It is created before the lease is taken, so that the zygote imports meanwhile. It forks nothing
    before ``configure``.
    """

    def __init__(self) -> None:
        self._stderr_path: str | None = None
        self._fallback: Spawner | None = None
        self._failures_count = 0
        self._zygote: ZygoteProcess | None = None

    def configure(self, stderr_path: str, fallback: Spawner) -> None:
        """Get ready to serve a root, whose lease is held."""
        self._stderr_path = stderr_path
        self._fallback = fallback
        if self._zygote is not None:
            self._zygote.redirect_stderr(stderr_path)

    def launch(self, run: RunDir, owner_fd: int) -> LaunchedWorker | LaunchFailure:
        """Start a worker; see Spawner."""
        if self._failures_count >= FAILURES_COUNT and self._fallback is not None:
            return self._fallback.launch(run, owner_fd)
        try:
            os.close(os.dup(owner_fd))  # there is a free descriptor for the pidfd
        except OSError as error:
            return launch_failure(error.errno or 0)
        try:
            zygote = self.prepare()
            forked = zygote.fork(run.path, owner_fd)
        except (OSError, ZygoteLost) as error:
            self._zygote = None
            self._failures_count += 1
            return LaunchFailure(f"the process that forks workers failed: {error}", transient=True)
        self._failures_count = 0
        if isinstance(forked, int):
            return launch_failure(forked)
        pid, start_ticks, pidfd = forked
        return LaunchedWorker(
            pid=pid,
            start_ticks=start_ticks,
            pidfd=pidfd,
            collect=lambda: self._collect(zygote, pid),
        )

    def prepare(self) -> ZygoteProcess:
        """Start the zygote if there is none; it imports while the supervisor does other work."""
        if self._zygote is None:
            self._zygote = ZygoteProcess(self._stderr_path)
        return self._zygote

    def helpers(self) -> tuple[Process, ...]:
        """The zygote."""
        return () if self._zygote is None else (self._zygote.process,)

    def close(self) -> None:
        """Kill the zygote; its workers continue."""
        if self._zygote is not None:
            self._zygote.close()
            self._zygote = None

    def _collect(self, zygote: ZygoteProcess, pid: int) -> int | None:
        try:
            if zygote is self._zygote:
                return zygote.exit_code_of(pid)
        except ZygoteLost:
            self._zygote = None
        try:  # a dead zygote's workers become our children, since we are a subreaper
            _, status = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            return None
        return os.waitstatus_to_exitcode(status)

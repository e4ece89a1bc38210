"""Workers by fork: a helper process that has imported the worker forks one per run.

It costs a thirtieth of an interpreter per run. The helper is ours alone and ends with us. Where it
dies or does not answer it is replaced at the next launch, and where none ever answers, workers are
started by exec. A launch without an answer is not known to have failed: the owner lock, which a
worker would hold, decides that at the next try.
"""

import contextlib
import os
import socket
import subprocess
import sys
from typing import Final

import workers
from supervisor.launchers.spawner import (
    LaunchedWorker,
    LaunchFailure,
    Spawner,
    open_words,
    refused,
    start_child,
)
from workers.processes.fork_protocol import ENDED, STARTED, STDERR, receive_message, send_message
from workers.processes.tree import Process
from workers.records.layout import RunDir
from workers.records.proc import proc_stat
from workers.records.typed_errors import TypedError

ANSWER_S: Final = 10.0  # a fork takes a millisecond; this is a machine that thrashes
STATUS_S: Final = 1.0  # the worker is dead: its status is for words only
FAILURES_COUNT: Final = 3  # one less than the core's tries of a launch (wiring.LAUNCH)

# -S: the zygote needs nothing of site; without it this is the one place that modules come from.
_PROGRAM: Final = (
    "import sys; sys.path.append(sys.argv[2]); "
    "from workers.entry.zygote import main; main(int(sys.argv[1]))"
)
_TITLE_ROOM: Final = " " * 512  # a worker shows its run's directory in place of our words


class ZygoteLost(Exception):
    """The zygote is dead, or has been killed because it did not answer."""


class ZygoteProcess:
    """One helper process.

    Args:
        stderr_path: where it and its workers leave words that belong nowhere else; None for
            nowhere.

    Raises:
        OSError: it could not be started.
    """

    def __init__(self, stderr_path: str | None) -> None:
        self._sock, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._codes: dict[int, int] = {}
        with theirs:
            try:
                self._process = _start(theirs.fileno(), stderr_path)
            except OSError:
                self._sock.close()
                raise
        stat = proc_stat(self._process.pid)  # ours to reap, so it is there
        self._start_ticks = 0 if stat is None else stat.start_ticks

    @property
    def process(self) -> Process:
        """Which process it is."""
        return self._process.pid, self._start_ticks

    def direct(self, stderr_path: str) -> None:
        """Let it, and the workers from now on, leave their last words there; they may be lost."""
        with contextlib.suppress(OSError, TypedError):
            fd = open_words(stderr_path)
            try:
                send_message(self._sock, STDERR, fd=fd)
            finally:
                os.close(fd)

    def fork(self, run_dir: str, owner_fd: int) -> "tuple[int, int, int] | int":
        """Fork a worker.

        Returns:
            Its pid, start ticks and pidfd; or the errno that refused it.

        Raises:
            Lost: whether there is a worker is not known.
        """
        try:
            send_message(self._sock, os.fsencode(run_dir), fd=owner_fd)
        except OSError:
            raise self._lose() from None
        words, pidfd = self._hear(ANSWER_S)
        if words[0] != STARTED:
            return int(words[1])
        if pidfd is None:
            raise self._lose()
        pid = int(words[1])
        self._codes.pop(pid, None)  # of an earlier process with this number
        return pid, int(words[2]), pidfd

    def code_of(self, pid: int) -> int | None:
        """How a worker that has ended did so; None where nobody tells. Raises Lost."""
        while pid not in self._codes:
            self._hear(STATUS_S, only=ENDED)
        return self._codes.pop(pid)

    def _hear(self, timeout_s: float, only: bytes = b"") -> tuple[list[bytes], int | None]:
        """The next answer; endings that come before it are kept."""
        while True:
            self._sock.settimeout(timeout_s)
            try:
                text, fd = receive_message(self._sock)
            except OSError:
                text, fd = b"", None
            if not text:
                raise self._lose()
            words = text.split()
            if words[0] == ENDED:
                self._codes[int(words[1])] = int(words[2])
            if words[0] != ENDED or only == ENDED:
                return words, fd

    def _lose(self) -> ZygoteLost:
        self.close()
        return ZygoteLost()

    def close(self) -> None:
        """End it; its workers go on."""
        self._sock.close()
        self._process.kill()
        self._process.wait()


def _start(fd: int, stderr_path: str | None) -> "subprocess.Popen[bytes]":
    home = os.path.dirname(os.path.dirname(os.path.abspath(workers.__file__)))
    words = [sys.executable, "-I", "-S", "-c", _PROGRAM, str(fd), home, _TITLE_ROOM]
    return start_child(words, inherited_fd=fd, stderr_path=stderr_path)


class ZygoteSpawner:
    """Starts workers by fork; see Launcher.

    Made before the root is known to be ours, so that the zygote gets ready meanwhile; it forks
    nothing before ``settle``.
    """

    def __init__(self) -> None:
        self._stderr_path: str | None = None
        self._fallback: Spawner | None = None
        self._failures_count = 0
        self._zygote: ZygoteProcess | None = None

    def settle(self, stderr_path: str, fallback: Spawner) -> None:
        """The root is ours.

        Args:
            stderr_path: where zygote and workers leave words that belong nowhere else.
            fallback: what starts workers where no zygote answers.
        """
        self._stderr_path = stderr_path
        self._fallback = fallback
        if self._zygote is not None:
            self._zygote.direct(stderr_path)

    def launch(self, run: RunDir, owner_fd: int) -> LaunchedWorker | LaunchFailure:
        """Start a worker."""
        if self._failures_count >= FAILURES_COUNT and self._fallback is not None:
            return self._fallback.launch(run, owner_fd)
        try:
            os.close(os.dup(owner_fd))  # there is room for the pidfd that comes back
        except OSError as error:
            return refused(error.errno or 0)
        try:
            zygote = self.prepare()
            forked = zygote.fork(run.path, owner_fd)
        except (OSError, ZygoteLost) as error:
            self._zygote = None
            self._failures_count += 1
            return LaunchFailure(f"the process that forks workers failed: {error}", transient=True)
        self._failures_count = 0
        if isinstance(forked, int):
            return refused(forked)
        pid, start_ticks, pidfd = forked
        return LaunchedWorker(
            pid=pid,
            start_ticks=start_ticks,
            pidfd=pidfd,
            collect=lambda: self._collect(zygote, pid),
        )

    def prepare(self) -> ZygoteProcess:
        """Start the zygote unless there is one; it gets ready while we do something else."""
        if self._zygote is None:
            self._zygote = ZygoteProcess(self._stderr_path)
        return self._zygote

    def helpers(self) -> tuple[Process, ...]:
        """The zygote."""
        return () if self._zygote is None else (self._zygote.process,)

    def close(self) -> None:
        """End the zygote; its workers go on."""
        if self._zygote is not None:
            self._zygote.close()
            self._zygote = None

    def _collect(self, zygote: ZygoteProcess, pid: int) -> int | None:
        try:
            if zygote is self._zygote:
                return zygote.code_of(pid)
        except ZygoteLost:
            self._zygote = None
        try:  # orphans of a zygote come to us, a subreaper
            _, status = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            return None
        return os.waitstatus_to_exitcode(status)

"""The zygote: a small process that has imported the worker and forks one per run.

A fork of a small process costs a thirtieth of starting an interpreter, and shares its memory. The
supervisor starts the zygote and sends requests over a socket (``fork_protocol``). The zygote serves
no other process, has no state about runs, and ends with the supervisor; the workers do not.
"""

import contextlib
import gc
import os
import select
import signal
import socket
import sys

from workers.entry.prepare import PreparedRun, prepare_run
from workers.entry.run_worker import exit_fork, run_to_verdict
from workers.processes.fork_protocol import (
    ENDED,
    REFUSED,
    STARTED,
    STDERR,
    receive_message,
    send_message,
)
from workers.processes.inherited import init_process
from workers.processes.process_attributes import inherited_score, set_title
from workers.records.identity import identity_of
from workers.records.layout import RunDir
from workers.records.proc import proc_stat
from workers.records.typed_errors import TypedError
from workers.stages.control import STOP_SIGNALS, set_handlers


class Zygote:
    """Serves one supervisor.

    Args:
        sock: the connection to it.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._wakeup_r, self._wakeup_w = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._environ = dict(os.environ)

    def serve(self) -> None:
        """Fork workers until the supervisor is gone."""
        signal.pthread_sigmask(signal.SIG_SETMASK, STOP_SIGNALS)  # only EOF ends us
        signal.set_wakeup_fd(self._wakeup_w, warn_on_full_buffer=False)
        set_handlers()  # for the workers; they do not disturb us, since those signals are blocked
        identity_of(os.getpid())  # fills the caches that every worker shares
        inherited_score()
        gc.collect()
        gc.freeze()
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        poll.register(self._wakeup_r, select.POLLIN)
        while True:
            for fd, _ in poll.poll():
                if fd == self._wakeup_r:
                    self._reap()
                elif not self._answer():
                    return

    def _answer(self) -> bool:
        """Fork the requested worker; False if the supervisor is gone."""
        try:
            message, fd = receive_message(self._sock)
        except ConnectionError:
            return False
        if not message or fd is None:
            return False
        if message == STDERR:
            os.dup2(fd, 2)
            os.close(fd)
            return True
        run = RunDir(os.path.realpath(os.fsdecode(message)))
        prepared = None
        with contextlib.suppress(OSError, TypedError):  # then the worker tries, and reports it
            prepared = prepare_run(run, fd, self._environ)
        try:
            pid = os.fork()
        except OSError as error:
            send_message(self._sock, REFUSED, error.errno or 0)
        else:
            if pid == 0:
                exit_fork(lambda: self._run_worker(run, fd, prepared))
            self._report_start(pid)
        if prepared is not None:
            prepared.journal.close()
        os.close(fd)
        return True

    def _run_worker(self, run: RunDir, owner_fd: int, prepared: PreparedRun | None) -> int:
        """Run one run in a fork, like ``python -m workers``."""
        self._sock.close()
        os.close(self._wakeup_r)
        os.close(self._wakeup_w)
        argv = [sys.executable, "-m", "workers", run.path, "--owner-fd", str(owner_fd)]
        set_title(argv, f"run {run.path[-8:]}")
        return run_to_verdict(run, owner_fd, prepared)

    def _report_start(self, pid: int) -> None:
        stat = proc_stat(pid)  # exists, since the worker is not reaped yet
        ticks = 0 if stat is None else stat.start_ticks
        pidfd = os.pidfd_open(pid)
        try:
            send_message(self._sock, STARTED, pid, ticks, fd=pidfd)
        finally:
            os.close(pidfd)

    def _reap(self) -> None:
        """Report how each worker ended, unless the supervisor's socket is full."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self._wakeup_r, 4096):
                pass
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:  # every child is a worker
                pid, status = ended
                with contextlib.suppress(OSError):
                    code = os.waitstatus_to_exitcode(status)
                    send_message(self._sock, ENDED, pid, code, flags=socket.MSG_DONTWAIT)


def main(fd: int) -> None:
    """Serve the supervisor at the other end of a socket."""
    init_process()
    os.chdir("/")  # keep no directory of the caller busy
    set_title(["supervisor", "zygote", f"of {os.getppid()}"], "zygote")
    with socket.socket(fileno=fd) as sock:
        sock.set_inheritable(False)
        with contextlib.suppress(ConnectionError):
            Zygote(sock).serve()

"""The zygote: a small process that has imported the worker, and forks one per run.

A fork of a small process costs a thirtieth of starting an interpreter, and its memory is shared.
The supervisor starts the zygote and asks it over a socket (``wire``). It serves nobody else, knows
nothing of runs, and ends when the supervisor does; the workers do not.
"""

import contextlib
import gc
import os
import select
import signal
import socket
import sys
import traceback
from typing import NoReturn

from workers.entry.prepare import PreparedRun, prepare_run
from workers.entry.run_worker import BUG, run_to_verdict
from workers.processes.inherited import init_process
from workers.processes.oom import inherited_score
from workers.processes.proctitle import set_title
from workers.processes.zygote_protocol import (
    ENDED,
    REFUSED,
    STARTED,
    WORDS,
    receive_message,
    send_message,
)
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
        self._bell_fd, self._ring_fd = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._environ = dict(os.environ)

    def serve(self) -> None:
        """Fork workers until the supervisor is gone."""
        signal.pthread_sigmask(signal.SIG_SETMASK, STOP_SIGNALS)  # we end with the supervisor only
        signal.set_wakeup_fd(self._ring_fd, warn_on_full_buffer=False)
        set_handlers()  # of the workers; ours are the same, since what ends us is blocked
        identity_of(os.getpid())  # what is true of every worker is asked once
        inherited_score()
        gc.collect()
        gc.freeze()
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        poll.register(self._bell_fd, select.POLLIN)
        while True:
            for fd, _ in poll.poll():
                if fd == self._bell_fd:
                    self._reap()
                elif not self._answer():
                    return

    def _answer(self) -> bool:
        """Fork the worker that is asked for; False where nobody asks any more."""
        try:
            words, owner_fd = receive_message(self._sock)
        except ConnectionError:
            return False
        if not words or owner_fd is None:
            return False
        if words == WORDS:
            os.dup2(owner_fd, 2)
            os.close(owner_fd)
            return True
        run = RunDir(os.path.realpath(os.fsdecode(words)))
        ready = None
        with contextlib.suppress(OSError, TypedError):  # then the worker tries, and tells
            ready = prepare_run(run, owner_fd, self._environ)
        try:
            pid = os.fork()
        except OSError as error:
            send_message(self._sock, REFUSED, error.errno or 0)
        else:
            if pid == 0:
                self._be_worker(run, owner_fd, ready)
            self._tell_started(pid)
        if ready is not None:
            ready.journal.close()
        os.close(owner_fd)
        return True

    def _be_worker(self, run: RunDir, owner_fd: int, ready: PreparedRun | None) -> NoReturn:
        """Run one run, as ``python -m workers`` does. Never returns."""
        code = BUG
        try:
            os.setsid()
            self._sock.close()
            os.close(self._bell_fd)
            os.close(self._ring_fd)
            words = ["workers", run.path, "--owner-fd", str(owner_fd)]
            set_title([sys.executable, "-m", *words], f"run {run.path[-8:]}")
            code = run_to_verdict(run, owner_fd, ready)
        except BaseException:  # noqa: BLE001 - what an interpreter of its own would print
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)

    def _tell_started(self, pid: int) -> None:
        stat = proc_stat(pid)  # not reaped yet, so it is there
        pidfd = os.pidfd_open(pid)
        try:
            send_message(
                self._sock, STARTED, pid, 0 if stat is None else stat.start_ticks, fd=pidfd
            )
        finally:
            os.close(pidfd)

    def _reap(self) -> None:
        """Tell how each worker ended; where the supervisor does not listen, it learns less."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self._bell_fd, 4096):
                pass
        with contextlib.suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:  # every child of ours is a worker
                pid, status = found
                with contextlib.suppress(OSError):
                    code = os.waitstatus_to_exitcode(status)
                    send_message(self._sock, ENDED, pid, code, flags=socket.MSG_DONTWAIT)


def main(fd: int) -> None:
    """Serve the supervisor at the other end of a socket."""
    init_process()
    os.chdir("/")  # keep no directory of the caller busy, and need none of them
    set_title(["supervisor", "zygote", f"of {os.getppid()}"], "zygote")
    with socket.socket(fileno=fd) as sock:
        sock.set_inheritable(False)
        with contextlib.suppress(ConnectionError):
            Zygote(sock).serve()

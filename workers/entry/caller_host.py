"""The process that hosts a caller's run, and the runs of that run's sub-pipelines.

``supervisor run`` starts it, in a session of its own, before it submits the run. It inherits the
caller's environment, umask, limits, cgroup and namespaces; so do the keeper that it forks for each
run, the worker and the stages. The supervisor only admits the run, by ``placement.json``.

The caller writes a byte to our stdin once the run is submitted. If stdin ends without one, the
caller ended before it submitted the run, and we end, too.

A worker requests hosts for the runs of its sub-pipelines over a socket (``fork_protocol``). Their
keepers are forked here and not by the worker, because a worker ends everything below it. The host
ends when all its keepers have ended; when the caller's own run has ended, it terminates the others.
It ignores SIGHUP and passes SIGTERM and SIGINT on to the keepers as SIGTERM.
"""

import contextlib
import gc
import os
import select
import signal
import socket
import sys

from workers.entry.keeper import run_caller_keeper
from workers.entry.run_worker import exit_fork
from workers.processes.fork_protocol import HostClient, receive_message
from workers.processes.inherited import init_process
from workers.processes.process_attributes import inherited_score, set_title
from workers.records.identity import identity_of
from workers.records.layout import Layout, RunDir
from workers.stages.control import set_handlers


class CallerHost:
    """Forks a keeper per run and waits for all of them."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._sock, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._client = HostClient(theirs)
        self._keepers: set[int] = set()
        self._first: int | None = None
        self._signals_r, self._signals_w = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def begin(self, run: RunDir, caller_fd: int) -> None:
        """Fork the keeper of a run; if the fork is refused, the caller's lock is released."""
        try:
            pid = os.fork()
        except OSError as error:
            print(f"host: {run.path}: {error.strerror}", file=sys.stderr)
        else:
            if pid == 0:
                exit_fork(lambda: self._keep(run, caller_fd))
            self._keepers.add(pid)
            self._first = self._first or pid
        finally:
            os.close(caller_fd)

    def _keep(self, run: RunDir, caller_fd: int) -> int:
        signal.set_wakeup_fd(-1)
        self._sock.close()
        os.close(self._signals_r)
        os.close(self._signals_w)
        return run_caller_keeper(self._layout, run, caller_fd, self._client)

    def receive_signals(self) -> None:
        """Let ``serve`` read signals, including those since this process was started."""
        set_handlers()
        signal.set_wakeup_fd(self._signals_w, warn_on_full_buffer=False)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())

    def serve(self) -> None:
        """Wait until every keeper has ended, and fork those that workers request."""
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        poll.register(self._signals_r, select.POLLIN)
        while self._keepers:
            for fd, _ in poll.poll():
                if fd == self._signals_r:
                    self._handle_signals()
                else:
                    self._handle_request()

    def _handle_request(self) -> None:
        with contextlib.suppress(ConnectionError):
            path, caller_fd = receive_message(self._sock)
            if path and caller_fd is not None:
                self.begin(RunDir(os.fsdecode(path)), caller_fd)

    def _handle_signals(self) -> None:
        numbers: set[int] = set()
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._signals_r, 4096):
                numbers |= set(data)
        if numbers & {signal.SIGTERM, signal.SIGINT}:
            self._terminate_keepers()
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                self._keepers.discard(ended[0])
                if ended[0] == self._first:
                    self._terminate_keepers()  # a sub-pipeline's run does not outlive its parent

    def _terminate_keepers(self) -> None:
        for pid in self._keepers:  # the pids are valid: only we reap them
            os.kill(pid, signal.SIGTERM)


def main(root: str, run_dir: str, caller_fd: int) -> None:
    """Host one run.

    Args:
        root: the run's root.
        run_dir: its directory, by its real path; it may not exist yet.
        caller_fd: its locked caller's file.
    """
    init_process()
    inherited_score()  # before a worker raises it
    set_title(["supervisor", "host", run_dir], "host")
    os.set_inheritable(caller_fd, False)
    identity_of(os.getpid())  # fills the caches that every keeper shares
    gc.collect()
    gc.freeze()
    if not os.read(0, 1):
        return
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    os.dup2(null, 0)
    os.close(null)
    host = CallerHost(Layout(root))
    host.receive_signals()
    host.begin(RunDir(run_dir), caller_fd)
    host.serve()

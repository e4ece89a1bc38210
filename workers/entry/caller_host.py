"""The process that hosts a caller's run, and the runs of that run's sub-pipelines.

``supervisor run`` starts it, in a session of its own, before it submits the run. It inherits what
the caller has: environment, umask, limits, cgroup and namespaces. So do the keeper that it forks
for each run, the worker and the stages. The supervisor only admits the run, by ``placement.json``;
whoever holds the lease, and whoever comes after, has no part in starting it.

The caller writes a byte to our stdin when the run is submitted. If stdin ends without one, the
caller has ended before, and so do we: nobody asked for the run.

A worker asks for the runs of its sub-pipelines over a socket (``host_client``). Their keepers are
forked here and not by the worker, because a worker ends whatever is below it. The host ends when
all of its keepers have; when the caller's own run has ended, the others are asked to end. It
ignores a hang-up; TERM and INT go on to the keepers.
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

from workers.entry.keeper import run_caller_keeper
from workers.entry.run_worker import BUG
from workers.processes.inherited import init_process
from workers.processes.oom import inherited_score
from workers.processes.proctitle import set_title
from workers.processes.zygote_protocol import receive_message
from workers.records.identity import identity_of
from workers.records.layout import Layout, RunDir
from workers.stages.control import set_handlers
from workers.stages.host_client import HostClient


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
        """Fork the keeper of a run; a fork that is refused releases the caller's lock."""
        try:
            pid = os.fork()
        except OSError as error:
            print(f"host: {run.path}: {error.strerror}", file=sys.stderr)
        else:
            if pid == 0:
                self._be_keeper(run, caller_fd)
            self._keepers.add(pid)
            self._first = self._first or pid
        finally:
            os.close(caller_fd)

    def _be_keeper(self, run: RunDir, caller_fd: int) -> NoReturn:
        """Keep one run. Never returns."""
        code = BUG
        try:
            signal.set_wakeup_fd(-1)
            os.setsid()
            self._sock.close()
            os.close(self._signals_r)
            os.close(self._signals_w)
            code = run_caller_keeper(self._layout, run, caller_fd, self._client)
        except BaseException:  # noqa: BLE001 - what an interpreter of its own would print
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)

    def serve(self) -> None:
        """Wait until every keeper has ended, and begin what their workers ask for."""
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        poll.register(self._signals_r, select.POLLIN)
        while self._keepers:
            for fd, _ in poll.poll():
                if fd == self._signals_r:
                    self._take_signals()
                else:
                    self._take_request()

    def _take_request(self) -> None:
        with contextlib.suppress(ConnectionError):
            words, caller_fd = receive_message(self._sock)
            if words and caller_fd is not None:
                self.begin(RunDir(os.fsdecode(words)), caller_fd)

    def _take_signals(self) -> None:
        came: set[int] = set()
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._signals_r, 4096):
                came |= set(data)
        if came & {signal.SIGTERM, signal.SIGINT}:
            self._ask_to_end()
        with contextlib.suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                self._keepers.discard(found[0])
                if found[0] == self._first:
                    self._ask_to_end()  # nothing that a run asked for outlives it

    def _ask_to_end(self) -> None:
        for pid in self._keepers:  # nobody else reaps them, so they are still the ones
            os.kill(pid, signal.SIGTERM)

    def hear_signals(self) -> None:
        """Let signals be read by ``serve``; what came since we were started is among them."""
        set_handlers()
        signal.set_wakeup_fd(self._signals_w, warn_on_full_buffer=False)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())


def main(root: str, run_dir: str, caller_fd: int) -> None:
    """Host one run.

    Args:
        root: of the run.
        run_dir: its directory, by its real path; it need not be there yet.
        caller_fd: its locked caller's file.
    """
    init_process()
    inherited_score()  # before a worker raises it
    set_title(["supervisor", "host", run_dir], "host")
    os.set_inheritable(caller_fd, False)
    identity_of(os.getpid())  # what is true of every keeper is asked once
    gc.collect()
    gc.freeze()
    if not os.read(0, 1):
        return
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    os.dup2(null, 0)
    os.close(null)
    host = CallerHost(Layout(root))
    host.hear_signals()
    host.begin(RunDir(run_dir), caller_fd)
    host.serve()

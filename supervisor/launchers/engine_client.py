"""Runs on other hosts: the client of an agent process, which talks to the engine.

Nothing here waits: unsent requests are buffered, and answers are read when ``fd`` is readable. An
agent that dies or sends an unknown message is replaced, and the new one gets all outstanding
requests: unclaimed attempts, and attempts to end. A repeated request is harmless.
"""

import contextlib
import select
import socket
import subprocess
from collections.abc import Sequence
from typing import Final

from supervisor.launchers.agents.protocol import (
    AgentReady,
    Answer,
    BadLineError,
    Cancel,
    JobEnded,
    Lines,
    Note,
    Order,
    Place,
    parse_answer,
)
from supervisor.launchers.placer import Placer
from supervisor.launchers.spawner import start_child
from workers.processes.tree import Process
from workers.records.proc import proc_stat

FIRST_DELAY_S: Final = 1.0  # before an agent is replaced that never reached its engine
MAX_DELAY_S: Final = 30.0
EXIT_WAIT_S: Final = 0.1  # for the exit code of an agent that is dead or about to be killed
CLOSE_S: Final = 5.0  # for the agent to pass its last requests to the engine
_READ_BYTES: Final = 65_536


class EngineClient(Placer):
    """Places attempts with an engine, through an agent.

    Args:
        name: the engine's name in settings and records.
        argv: the agent's command line; the number of its socket and ``options`` are appended.
        options: the settings that the agent needs, a JSON object.
        stderr_path: the file for the agent's stderr.
    """

    takes_resources = True
    watches_keepers = False

    def __init__(self, name: str, argv: Sequence[str], options: str, stderr_path: str) -> None:
        self.name = name
        self._argv = list(argv)
        self._options = options
        self._stderr_path = stderr_path
        self._epoll = select.epoll()
        self._orders: dict[str, Order] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._start_ticks = 0
        self._sock: socket.socket | None = None
        self._unsent = bytearray()
        self._lines = Lines()
        self._is_ready = False
        self._delay_s = FIRST_DELAY_S
        self._due_mono_s = 0.0
        self._has_reported_death = False

    @property
    def fd(self) -> int:
        """Readable if there are answers, or unsent requests can be sent; never changes."""
        return self._epoll.fileno()

    def place(self, order: Place) -> None:
        """Request an attempt."""
        self._order(order)

    def cancel(self, order: Cancel) -> None:
        """Request the end of an attempt."""
        self._order(order)

    def on_claimed(self, key: str) -> None:
        """Drop the request for an attempt that has begun."""
        if isinstance(self._orders.get(key), Place):
            del self._orders[key]

    def release(self, run_id: str, key: str | None) -> None:
        """Cancel an attempt that still waits."""
        if key is not None and isinstance(self._orders.pop(key, None), Place):
            self._send(Cancel(key, claimed=False))

    def maintain(self, now_mono_s: float) -> list[Answer]:
        """Start an agent if there is none; returns a note if that fails."""
        if self._sock is not None or now_mono_s < self._due_mono_s:
            return []
        self._due_mono_s = now_mono_s + self._delay_s
        self._delay_s = min(2 * self._delay_s, MAX_DELAY_S)
        try:
            self._start()
        except OSError as error:
            return self._report_death(f"could not be started ({error.strerror})")
        for order in list(self._orders.values()):
            self._send(order)
        return []

    def _start(self) -> None:
        sock, theirs = socket.socketpair()
        with theirs:
            try:
                argv = [*self._argv, str(theirs.fileno()), self._options]
                self._process = start_child(
                    argv, inherited_fd=theirs.fileno(), stderr_path=self._stderr_path
                )
            except OSError:
                sock.close()
                raise
        stat = proc_stat(self._process.pid)
        self._start_ticks = 0 if stat is None else stat.start_ticks
        sock.setblocking(False)
        self._sock = sock
        self._lines, self._is_ready = Lines(), False
        self._unsent.clear()
        self._epoll.register(sock, select.EPOLLIN)

    def receive(self) -> list[Answer]:
        """Return the agent's answers, in order; also send buffered requests.

        Each answer takes effect as it is read: the last one, in the same read as the agent's end,
        may decide whether a new agent is started at once.
        """
        answers: list[Answer] = []
        with contextlib.suppress(OSError):  # a dead agent may still have answers to read
            self._flush()
        try:
            while self._sock is not None:
                data = self._sock.recv(_READ_BYTES)
                if not data:
                    answers += self._discard()
                    break
                for line in self._lines.feed(data):
                    answers.append(answer := parse_answer(line))
                    self._apply(answer)
        except BlockingIOError:
            pass
        except BadLineError as error:
            answers += [Note(f"the {self.name} agent sent {error}"), *self._discard()]
        except OSError:
            answers += self._discard()
        return answers

    def _apply(self, answer: Answer) -> None:
        if isinstance(answer, AgentReady):
            self._is_ready, self._has_reported_death = True, False
            self._delay_s = FIRST_DELAY_S
        elif isinstance(answer, JobEnded) and isinstance(self._orders.get(answer.key), Cancel):
            del self._orders[answer.key]

    def _order(self, order: Order) -> None:
        self._orders[order.key] = order
        self._send(order)

    def _send(self, order: Order) -> None:
        if self._sock is None:
            return  # the next agent gets all outstanding requests
        self._unsent += order.to_line()
        with contextlib.suppress(OSError):  # a dead agent is noticed by reading
            self._flush()

    def _flush(self) -> None:
        if self._sock is None:
            return
        try:
            while self._unsent:
                del self._unsent[: self._sock.send(self._unsent)]
        except BlockingIOError:
            pass
        events = select.EPOLLIN | (select.EPOLLOUT if self._unsent else 0)
        self._epoll.modify(self._sock, events)

    def _discard(self) -> list[Answer]:
        """End an agent that is dead or misbehaves."""
        code = self._end(EXIT_WAIT_S)
        if self._is_ready:
            self._due_mono_s = 0.0
            return []
        return self._report_death(f"ended with {code} before it reached its engine")

    def _report_death(self, how: str) -> list[Answer]:
        if self._has_reported_death:
            return []
        self._has_reported_death = True
        text = f"the {self.name} agent {how}; it is started again, at most every {MAX_DELAY_S:g} s"
        return [Note(f"{text}; see {self._stderr_path}")]

    def _end(self, wait_s: float) -> int | None:
        """Close the connection, at which an agent exits, and kill a slow one; its exit code."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None
        process, self._process = self._process, None
        if process is None:
            return None
        try:
            return process.wait(wait_s)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def helpers(self) -> tuple[Process, ...]:
        """The agent."""
        return () if self._process is None else ((self._process.pid, self._start_ticks),)

    def close(self) -> None:
        """End the agent; the engine keeps its jobs."""
        self._end(CLOSE_S)
        self._epoll.close()

"""Runs on other hosts: an agent process talks to the engine that places them, and we to the agent.

Nothing here waits: what the socket does not take yet is kept, and what the agent says is heard when
``fd`` is readable. An agent that dies, or says what nobody understands, is replaced, and told again
what is outstanding: the attempts that nobody has begun, and the wishes that one end. Telling it
twice is harmless.
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
from supervisor.launchers.spawner import start_child
from workers.processes.tree import Process
from workers.records.proc import proc_stat

FIRST_DELAY_S: Final = 1.0  # before an agent is replaced that never reached its engine
MAX_DELAY_S: Final = 30.0
LOSE_S: Final = 0.1  # it is dead, or has to be: this is for its exit code
CLOSE_S: Final = 5.0  # what the engine has not got yet goes out
_READ_BYTES: Final = 65_536


class EngineClient:
    """Hands attempts to an engine by an agent.

    Args:
        name: the engine's, as settings and records call it.
        words: the agent's command line, to which the number of its socket and ``options`` are
            added.
        options: what the agent needs to know of the settings, a JSON object.
        stderr_path: where the agent's last words go.

    Attributes:
        name: the engine's.
        fd: readable when there is something to ``hear``, or to go on with; the same for ever.
    """

    takes_resources = True
    watches_keepers = False

    def __init__(self, name: str, words: Sequence[str], options: str, stderr_path: str) -> None:
        self.name = name
        self._words = list(words)
        self._options = options
        self._stderr_path = stderr_path
        self._poll = select.epoll()
        self.fd = self._poll.fileno()
        self._orders: dict[str, Order] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._start_ticks = 0
        self._sock: socket.socket | None = None
        self._unsent = bytearray()
        self._lines = Lines()
        self._is_ready = False
        self._delay_s = FIRST_DELAY_S
        self._due_mono_s = 0.0
        self._told_dead = False

    def place(self, order: Place) -> None:
        """Let an attempt be placed; what comes of it is heard later."""
        self._orders[order.key] = order
        self._send(order)

    def cancel(self, order: Cancel) -> None:
        """Let an attempt end, or never begin."""
        self._orders[order.key] = order
        self._send(order)

    def begun(self, key: str) -> None:
        """Somebody has begun an attempt: no agent has to be told of it again."""
        if isinstance(self._orders.get(key), Place):
            del self._orders[key]

    def forget(self, run_id: str, key: str | None) -> None:
        """The run is over: an attempt that still waits is to wait no more."""
        if key is not None and isinstance(self._orders.pop(key, None), Place):
            self._send(Cancel(key, claimed=False))

    def may_begin(self, run_id: str) -> bool:
        """True: an engine may begin an attempt at any time."""
        return True

    def tend(self, now_mono_s: float) -> list[Answer]:
        """Start an agent where there is none; call it often.

        Returns:
            What the operator should know.
        """
        if self._sock is not None or now_mono_s < self._due_mono_s:
            return []
        self._due_mono_s = now_mono_s + self._delay_s
        self._delay_s = min(2 * self._delay_s, MAX_DELAY_S)
        try:
            self._start()
        except OSError as error:
            return self._say_dead(f"could not be started ({error.strerror})")
        for order in list(self._orders.values()):
            self._send(order)
        return []

    def _start(self) -> None:
        sock, theirs = socket.socketpair()
        with theirs:
            try:
                words = [*self._words, str(theirs.fileno()), self._options]
                self._process = start_child(
                    words, inherited_fd=theirs.fileno(), stderr_path=self._stderr_path
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
        self._poll.register(sock, select.EPOLLIN)

    def hear(self) -> list[Answer]:
        """Return what the agent has said, in order; also send what it had no room for.

        Every answer is noted as it is read: whether a dead agent is replaced at once depends on
        what it said last, in the same read as its end.
        """
        found: list[Answer] = []
        with contextlib.suppress(OSError):  # a dead agent may still have answers to read
            self._flush()
        try:
            while self._sock is not None:
                data = self._sock.recv(_READ_BYTES)
                if not data:
                    found += self._lose()
                    break
                for line in self._lines.feed(data):
                    found.append(answer := parse_answer(line))
                    self._note(answer)
        except BlockingIOError:
            pass
        except BadLineError as error:
            found += [Note(f"the {self.name} agent said {error}"), *self._lose()]
        except OSError:
            found += self._lose()
        return found

    def _note(self, answer: Answer) -> None:
        """Note what an answer says of the agent, or of an order that is done."""
        if isinstance(answer, AgentReady):
            self._is_ready, self._told_dead = True, False
            self._delay_s = FIRST_DELAY_S
        elif isinstance(answer, JobEnded) and isinstance(self._orders.get(answer.key), Cancel):
            del self._orders[answer.key]

    def _send(self, order: Order) -> None:
        if self._sock is None:
            return  # the next agent is told all that is outstanding
        self._unsent += order.to_line()
        with contextlib.suppress(OSError):  # that it is dead is heard, not found out by writing
            self._flush()

    def _flush(self) -> None:
        if self._sock is None:
            return
        try:
            while self._unsent:
                del self._unsent[: self._sock.send(self._unsent)]
        except BlockingIOError:
            pass
        wanted = select.EPOLLIN | (select.EPOLLOUT if self._unsent else 0)
        self._poll.modify(self._sock, wanted)

    def _lose(self) -> list[Answer]:
        """Let go of an agent that is dead, or has to be."""
        code = self._end(LOSE_S)
        if self._is_ready:
            self._due_mono_s = 0.0
            return []
        return self._say_dead(f"ended with {code} before it reached its engine")

    def _say_dead(self, how: str) -> list[Answer]:
        if self._told_dead:
            return []
        self._told_dead = True
        words = f"the {self.name} agent {how}; it is started again, at most every {MAX_DELAY_S:g} s"
        return [Note(f"{words}; its last words are in {self._stderr_path}")]

    def _end(self, patience_s: float) -> int | None:
        """End the agent, which leaves by itself when nobody is at the other end; its exit code."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None
        process, self._process = self._process, None
        if process is None:
            return None
        try:
            return process.wait(patience_s)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def helpers(self) -> tuple[Process, ...]:
        """The agent; what is below it is of no run that we clear up."""
        return () if self._process is None else ((self._process.pid, self._start_ticks),)

    def close(self) -> None:
        """Let the agent end, and leave to the engine what it has."""
        self._end(CLOSE_S)
        self._poll.close()

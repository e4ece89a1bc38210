"""The loop of an agent: a process that talks to an engine for one supervisor.

It reads requests from a socket and answers there. It may block on its engine and may die: the
supervisor starts another and repeats the outstanding requests. When the supervisor exits, the agent
exits and leaves every job where it is.

If the engine cannot be reached, requests wait and the operator is notified. ``Refused`` is only for
a request that the engine has rejected.
"""

import json
import os
import select
import signal
import socket
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Protocol

from supervisor.launchers.agents.protocol import (
    Answer,
    BadLineError,
    Cancel,
    JobEnded,
    Lines,
    Place,
    Placed,
    Refused,
    parse_order,
)
from workers.processes.inherited import init_process

_READ_BYTES: Final = 65_536


class Engine(Protocol):
    """What the loop needs of an engine. Each call may block, and returns the answers so far."""

    @property
    def every_s(self) -> float:
        """Longest time between two polls, in seconds."""

    def fileno(self) -> int | None:
        """Readable when ``poll`` has something to report; None if only polling finds out."""

    def place(self, order: Place) -> Iterable[Answer]:
        """Submit an attempt. It is new to this agent, but the engine may know its key."""

    def cancel(self, order: Cancel) -> Iterable[Answer]:
        """End an attempt, which an earlier agent may have submitted."""

    def poll(self) -> Iterable[Answer]:
        """Report what has happened since the last poll."""

    def close(self) -> None:
        """Disconnect; submitted jobs continue."""


class _Agent:
    """Serves one supervisor."""

    def __init__(self, sock: socket.socket, engine: Engine) -> None:
        self._sock = sock
        self._engine = engine
        self._jobs: dict[str, str] = {}
        self._lines = Lines()

    def serve(self) -> None:
        """Answer until the supervisor is gone."""
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        engine_fd = self._engine.fileno()
        if engine_fd is not None:
            poll.register(engine_fd, select.POLLIN)
        is_served = True
        while is_served:
            self._send(self._engine.poll())
            for fd, _ in poll.poll(1000 * self._engine.every_s):
                if fd == self._sock.fileno():
                    is_served = self._receive()

    def _receive(self) -> bool:
        """Carry out the requests; False if the supervisor is gone."""
        data = self._sock.recv(_READ_BYTES)
        for line in self._lines.feed(data):
            match parse_order(line):
                case Place() as order if order.key in self._jobs:
                    self._send([Placed(order.key, self._jobs[order.key])])
                case Place() as order:
                    self._jobs[order.key] = ""
                    self._send(self._engine.place(order))
                case Cancel() as order:
                    self._send(self._engine.cancel(order))
        return bool(data)

    def _send(self, answers: Iterable[Answer]) -> None:
        for answer in answers:
            if isinstance(answer, Placed):
                self._jobs[answer.key] = answer.job
            elif isinstance(answer, Refused | JobEnded):
                self._jobs.pop(answer.key, None)
            self._sock.sendall(answer.to_line())


def main(argv: list[str], make: Callable[[Mapping[str, Any]], Engine]) -> int:
    """``python -m supervisor.launchers.agents.NAME FD OPTIONS``: the program of an agent's module.

    Args:
        argv: the command line: the socket's number, and the engine's options as a JSON object.
        make: creates the engine from its options.

    Returns:
        The exit code: 0 when the supervisor is gone, 1 for a request that cannot be read.
    """
    init_process()
    # A terminal's Ctrl-C is for the supervisor, and our end follows its end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    with socket.socket(fileno=int(argv[1])) as sock:
        os.set_inheritable(sock.fileno(), False)
        engine = make(json.loads(argv[2]))
        try:
            _Agent(sock, engine).serve()
        except ConnectionError:
            return 0
        except BadLineError as error:
            print(f"{argv[0]}: {error}", file=sys.stderr)
            return 1
        finally:
            engine.close()
    return 0

"""The loop of a process that talks to an engine for one supervisor.

It reads requests from the socket whose number it was given and answers there; it may wait for its
engine and may die: the supervisor starts it again and hands in again what nobody has begun. When
the supervisor goes away it ends, and leaves every job where it is.

An engine that cannot be reached is waited for: requests are kept and the operator is told.
``Refused`` is for a request that an engine has answered and does not take.
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
    """What the loop needs of an engine. Each call may wait, and answers as far as it can."""

    @property
    def every_s(self) -> float:
        """How long to wait between two looks when nothing else happens, in seconds."""

    def fileno(self) -> int | None:
        """Readable when ``look`` has something to tell; None where only looking finds out."""

    def place(self, order: Place) -> Iterable[Answer]:
        """Hand an attempt in. It is not known yet, but the engine itself may know its key."""

    def cancel(self, order: Cancel) -> Iterable[Answer]:
        """End an attempt, also one that an earlier agent has handed in."""

    def look(self) -> Iterable[Answer]:
        """What happened since the last look."""

    def close(self) -> None:
        """Let go; what was handed in goes on."""


class _Agent:
    """Serves one supervisor.

    Args:
        sock: the connection to it.
        engine: where attempts are handed in.
    """

    def __init__(self, sock: socket.socket, engine: Engine) -> None:
        self._sock = sock
        self._engine = engine
        self._jobs: dict[str, str] = {}
        self._lines = Lines()

    def serve(self) -> None:
        """Answer until the supervisor is gone."""
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        bell = self._engine.fileno()
        if bell is not None:
            poll.register(bell, select.POLLIN)
        is_served = True
        while is_served:
            self._say(self._engine.look())
            for fd, _ in poll.poll(1000 * self._engine.every_s):
                if fd == self._sock.fileno():
                    is_served = self._hear()

    def _hear(self) -> bool:
        """Do what is asked; False where nobody asks any more."""
        data = self._sock.recv(_READ_BYTES)
        for line in self._lines.feed(data):
            match parse_order(line):
                case Place() as order if order.key in self._jobs:
                    self._say([Placed(order.key, self._jobs[order.key])])
                case Place() as order:
                    self._jobs[order.key] = ""
                    self._say(self._engine.place(order))
                case Cancel() as order:
                    self._say(self._engine.cancel(order))
        return bool(data)

    def _say(self, answers: Iterable[Answer]) -> None:
        for answer in answers:
            match answer:
                case Placed(key, job):
                    self._jobs[key] = job
                case Refused(key) | JobEnded(key):
                    self._jobs.pop(key, None)
                case _:
                    pass
            self._sock.sendall(answer.to_line())


def serve(sock: socket.socket, engine: Engine) -> None:
    """Serve the supervisor at the other end of a socket until it is gone; then let go.

    Raises:
        BadLineError: what it says is nothing that we know.
    """
    try:
        _Agent(sock, engine).serve()
    except ConnectionError:
        return
    finally:
        engine.close()


def main(argv: list[str], make: Callable[[Mapping[str, Any]], Engine]) -> int:
    """``python -m supervisor.launchers.agents.NAME FD OPTIONS``: what an agent's module runs.

    Args:
        argv: the program's words: the socket's number, and the engine's options as a JSON object.
        make: makes the engine of its options.

    Returns:
        The exit code.
    """
    init_process()
    # A terminal's Ctrl-C is the supervisor's to judge, and its end is ours.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    with socket.socket(fileno=int(argv[1])) as sock:
        os.set_inheritable(sock.fileno(), False)
        try:
            serve(sock, make(json.loads(argv[2])))
        except BadLineError as error:
            print(f"{argv[0]}: {error}", file=sys.stderr)
            return 1
    return 0

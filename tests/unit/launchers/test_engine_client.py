"""The client of an agent that sends anything or nothing, or dies: the client never waits."""

import json
import select
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from supervisor.launchers.agents.protocol import (
    AgentReady,
    Answer,
    Cancel,
    JobEnded,
    Note,
    Place,
    Placed,
)
from supervisor.launchers.engine_client import EngineClient
from tests.root import wait_until

ECHO = """
import json, socket, sys
sock = socket.socket(fileno=int(sys.argv[1]))
sock.sendall(b'{"say": "ready"}\\n')
for line in sock.makefile():
    order = json.loads(line)
    answer = {"say": "placed" if order["do"] == "place" else "ended", "key": order["key"]}
    sock.sendall((json.dumps(answer) + "\\n").encode())
"""
DEAF = "import sys, time; time.sleep(60)"
DEAD = "raise SystemExit(3)"
MAD = """
import socket, sys, time
socket.socket(fileno=int(sys.argv[1])).sendall(b"what?\\n")
time.sleep(60)
"""
ONCE = """
import os, socket, sys
sock = socket.socket(fileno=int(sys.argv[1]))
sock.sendall(b'{"say": "ready"}\\n')
path = sys.argv[2]
if not os.path.exists(path):
    open(path, "w").close()
    sys.exit(1)
for line in sock.makefile():
    with open(path, "a") as file:
        file.write(line)
"""

LAST_WORDS = """
import json, socket, sys
sock = socket.socket(fileno=int(sys.argv[1]))
said, path = json.loads(sys.argv[2])
sock.sendall(said.encode())
sock.close()
open(path, "w").close()
"""

Make = Callable[..., EngineClient]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Makes launchers with an agent of a few lines; their agents are gone afterwards."""
    made = []

    def of(script: str, options: str = "{}") -> EngineClient:
        argv = [sys.executable, "-c", script]
        made.append(EngineClient("dask", argv, options, str(tmp_path / "words")))
        return made[-1]

    yield of
    for launcher in made:
        launcher.close()


def order(number: int = 1, size: int = 10) -> Place:
    return Place(key=f"r{number}.1", run_dir="x" * size, attempt=1)


def answers(launcher: EngineClient, count: int) -> list[Answer]:
    """The first ``count`` answers."""
    received: list[Answer] = []

    def has_enough() -> bool:
        received.extend(launcher.maintain(time.monotonic()))
        if select.select([launcher.fd], [], [], 0.05)[0]:
            received.extend(launcher.receive())
        return len(received) >= count

    wait_until(has_enough, f"{count} answers")
    return received


def test_requests_before_the_first_agent_are_sent_to_it(make: Make) -> None:
    launcher = make(ECHO)
    launcher.place(order())
    launcher.cancel(Cancel("r2.1", claimed=True))
    assert answers(launcher, 3) == [AgentReady(), Placed("r1.1", ""), JobEnded("r2.1", "")]


def test_agent_that_reads_nothing_does_not_block(make: Make) -> None:
    launcher = make(DEAF)
    launcher.maintain(0.0)
    began = time.monotonic()
    for number in range(200):
        launcher.place(order(number, size=4000))  # beyond what a socket takes
    assert launcher.receive() == []
    assert time.monotonic() - began < 5.0


def test_buffered_requests_are_sent_when_there_is_room(make: Make) -> None:
    launcher = make(ECHO)
    launcher.maintain(0.0)
    for number in range(500):
        launcher.place(order(number, size=4000))
    assert len(answers(launcher, 501)) == 501


@pytest.mark.parametrize(("script", "text"), [(DEAD, "ended with 3"), (MAD, "no JSON")])
def test_agent_that_dies_or_sends_nonsense_is_reported_once_and_restarted(
    make: Make, script: str, text: str
) -> None:
    launcher = make(script)
    found = answers(launcher, 1)
    assert all(isinstance(answer, Note) for answer in found)
    assert any(text in answer.text for answer in found if isinstance(answer, Note))
    assert launcher.helpers() == ()
    assert launcher.maintain(time.monotonic()) == [], "not at once"
    assert launcher.maintain(time.monotonic() + 3600.0) == []
    assert launcher.helpers(), "there is another"


def test_new_agent_gets_the_unclaimed_attempts(make: Make, tmp_path: Path) -> None:
    received = tmp_path / "received"
    launcher = make(ONCE, str(received))
    launcher.place(order(1))
    launcher.place(order(2))
    launcher.on_claimed("r2.1")
    launcher.cancel(Cancel("r3.1", claimed=False))
    launcher.place(order(4))
    launcher.release("r4", "r4.1")
    answers(launcher, 2)
    wait_until(lambda: received.read_text().count("\n") >= 2, "the second agent got them")
    assert '"r1.1"' in received.read_text()
    assert '"r3.1"' in received.read_text()
    assert '"r2.1"' not in received.read_text()


def test_finished_run_is_removed_from_the_engines_queue(make: Make) -> None:
    launcher = make(ECHO)
    launcher.maintain(0.0)
    launcher.place(order())
    launcher.release("r1", "r1.1")
    assert answers(launcher, 3)[-1] == JobEnded("r1.1", "")


@pytest.mark.fault("P33")
@pytest.mark.parametrize("unsent", [0, 500])
def test_answers_read_together_with_the_agents_end_count(
    make: Make, tmp_path: Path, unsent: int
) -> None:
    """The agent had reached its engine, so its replacement starts without a delay."""
    gone = tmp_path / "gone"
    said = '{"say": "ready"}\n{"say": "ended", "key": "r0.1"}\n'
    launcher = make(LAST_WORDS, json.dumps([said, str(gone)]))
    launcher.maintain(0.0)
    launcher.cancel(Cancel("r0.1", claimed=True))
    for number in range(unsent):
        launcher.place(order(number + 1, size=4000))  # more than the socket takes
    wait_until(gone.exists, "the agent has closed its socket")
    assert launcher.receive() == [AgentReady(), JobEnded("r0.1", "")]
    assert launcher.helpers() == ()
    assert launcher.maintain(0.0) == []
    assert launcher.helpers(), "its replacement is started without a delay"

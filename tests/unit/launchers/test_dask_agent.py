"""The agent of Dask if the connection is lost between two of its calls."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("distributed", reason="Dask is not installed")

from distributed.client import ClosedClientError, FutureCancelledError

from supervisor.launchers.agents import dask_agent
from supervisor.launchers.agents.dask_agent import Dask
from supervisor.launchers.agents.protocol import JobEnded, Place, Placed
from workers.records.layout import RunDir

KEY = "r1.1"


def lost(*_: object, **__: object) -> Any:
    raise FutureCancelledError(KEY, "scheduler-connection-lost")


class Task:
    """A future whose connection is lost after its status was read."""

    def __init__(self, status: str) -> None:
        self.status = status
        self.result = self.exception = lost
        self.done: Callable[[Any], None] = lambda _: None

    def add_done_callback(self, call: Callable[[Any], None]) -> None:
        self.done = call

    def release(self) -> None:
        pass


class Client:
    """A client that is connected as far as it knows."""

    status = "running"

    def __init__(self) -> None:
        self.tasks: list[Task] = []
        self.next_status = "finished"
        self.is_closed = False

    def submit(self, *_: object, **__: object) -> Task:
        if self.is_closed:
            raise ClosedClientError("Client is closed")
        self.tasks.append(Task(self.next_status))
        return self.tasks[-1]

    def sync(self, *_: object, **__: object) -> tuple[dict[str, Any], set[str]]:
        return {}, set()

    def _run_on_scheduler(self) -> None: ...

    def close(self, _: float) -> None: ...


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Dask, Client]]:
    monkeypatch.setattr(dask_agent, "fire_and_forget", lambda _: None)
    made, client = Dask("tcp://127.0.0.1:1"), Client()
    monkeypatch.setattr(made, "_client", client)
    yield made, client
    for fd in (made._wakeup_r, made._wakeup_w):
        os.close(fd)


def order(tmp_path: Path) -> Place:
    return Place(key=KEY, run_dir=str(tmp_path), attempt=1)


@pytest.mark.fault("P33")
@pytest.mark.parametrize("status", ["finished", "error"])
@pytest.mark.parametrize("is_claimed", [False, True])
def test_connection_lost_while_an_end_is_read_loses_no_attempt(
    agent: tuple[Dask, Client], tmp_path: Path, status: str, is_claimed: bool
) -> None:
    engine, client = agent
    client.next_status = status
    assert list(engine.place(order(tmp_path))) == [Placed(KEY, KEY)]
    assert list(engine.poll()) == []
    (task,) = client.tasks
    if is_claimed:
        Path(RunDir(str(tmp_path)).claim(1)).parent.mkdir(parents=True, exist_ok=True)
        Path(RunDir(str(tmp_path)).claim(1)).touch()
    task.done(task)
    ended = list(engine.poll())
    assert ended == ([JobEnded(KEY, "its scheduler was lost")] if is_claimed else [])
    assert len(client.tasks) == (1 if is_claimed else 2), "an unclaimed attempt is placed again"


@pytest.mark.fault("P33")
def test_attempt_that_a_closed_client_refuses_stays_queued(
    agent: tuple[Dask, Client], tmp_path: Path
) -> None:
    engine, client = agent
    client.is_closed = True
    list(engine.place(order(tmp_path)))
    assert list(engine.poll()) == []
    client.is_closed = False
    assert list(engine.poll()) == []
    assert len(client.tasks) == 1

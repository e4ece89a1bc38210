"""Talks to a Dask scheduler: one task for each attempt, which starts our worker and waits for it.

Measured of Dask, and why this is as it is:

* A task is handed to a worker before that has room, is kept there, and is taken from nobody whose
  threads are free, as ours are, which only wait. So an attempt stays here until a worker has room
  for what it takes, and goes to the one with the most.
* A task is made again elsewhere when a process of its host's dies, also with ``retries=0``, unless
  ``distributed.scheduler.allowed-failures`` is 0. The claim makes that harmless; we only tell.
* Cancelling a task that is on frees its slot and lets it go on. So only what nobody has begun is
  cancelled here; the rest ends by its ``cancel.json``.
* What a scheduler that dies had is lost, so it is handed in again when there is another.
* What its client goes away from may never begin unless it is fired and forgotten.
"""

import contextlib
import logging
import os
import queue
import sys
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import CancelledError
from typing import Any, Final

import dask
from distributed import Client, Future, LocalCluster, fire_and_forget
from distributed.client import ClosedClientError

from supervisor.launchers.agents.agent import main
from supervisor.launchers.agents.dask_rooms import Rooms, roomiest, take_room
from supervisor.launchers.agents.protocol import (
    AgentReady,
    Answer,
    Cancel,
    JobEnded,
    Note,
    Place,
    Placed,
)
from workers.entry.dask_task import run_attempt
from workers.records.dataclass import dataclass
from workers.records.layout import RunDir

CONNECT_S: Final = 5.0
FIRST_DELAY_S: Final = 1.0
MAX_DELAY_S: Final = 30.0
LOOK_S: Final = 1.0
WAITING_COUNT: Final = 1000  # tasks that wait in threads of a cluster on this host
CLOSE_S: Final = 3.0
# What any call may raise at any moment, since the connection is lost in a thread of the client's.
_LOST: Final = (OSError, TimeoutError, CancelledError, ClosedClientError)
_FAILURES: Final = "distributed.scheduler.allowed-failures"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """What the scheduler has of ours; ``worker`` is None where any may take it."""

    order: Place
    future: Any
    worker: str | None


class Dask:
    """The engine.

    Args:
        address: of the scheduler; None for a cluster of this process, on this host alone.
    """

    every_s = LOOK_S

    def __init__(self, address: str | None) -> None:
        self._address = address
        self._cluster: LocalCluster | None = None
        self._client: Client | None = None
        self._queue: dict[str, Place] = {}
        self._tasks: dict[str, _Task] = {}
        self._done: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._bell_fd, self._ring_fd = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._due_mono_s = 0.0
        self._delay_s = FIRST_DELAY_S
        self._told: set[str] = set()

    def fileno(self) -> int | None:
        """Readable when a task has ended."""
        return self._bell_fd

    def place(self, order: Place) -> Iterable[Answer]:
        """Keep an attempt until there is room for it, which ``look`` finds."""
        self._queue[order.key] = order
        yield Placed(order.key, order.key)

    def _submit(self, client: Client, order: Place, worker: str | None) -> None:
        future = client.submit(
            run_attempt,
            order.run_dir,
            order.attempt,
            key=order.key,
            pure=False,
            retries=0,
            resources=dict(order.resources) or None,
            workers=worker,
        )
        fire_and_forget(future)
        self._tasks[order.key] = _Task(order=order, future=future, worker=worker)
        future.add_done_callback(lambda done: self._ring(order.key, done))

    def _ring(self, key: str, future: Future) -> None:
        """Called in a thread of the client's."""
        self._done.put((key, future))
        with contextlib.suppress(BlockingIOError):
            os.write(self._ring_fd, b"!")

    def cancel(self, order: Cancel) -> Iterable[Answer]:
        """Hand in no more, or take out of the scheduler's hands, what nobody has begun."""
        self._queue.pop(order.key, None)
        if not order.claimed:
            task = self._tasks.pop(order.key, None)
            self._withdraw(order.key, None if task is None else task.future)
            yield JobEnded(order.key, "cancelled")

    def _withdraw(self, key: str, future: Any) -> None:  # noqa: ANN401 - distributed's Future
        client = self._client
        if client is not None and self._is_connected():
            with contextlib.suppress(*_LOST):
                client.cancel([future or Future(key, client)], force=True)

    def look(self) -> Iterable[Answer]:
        """Tell what has ended; hand in what there is room for; find a lost scheduler again."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._bell_fd, 4096)
        if not self._is_connected():
            yield from self._connect()
        while not self._done.empty():
            key, future = self._done.get()
            task = self._tasks.get(key)
            if task is None or task.future is not future:
                continue  # it was cancelled, or handed in anew
            how = _how(future)
            if how is None:
                yield from self._keep_again(task, "its scheduler was lost")
            else:
                del self._tasks[key]
                yield JobEnded(key, how)
        client = self._client
        if client is not None and self._is_connected():
            with contextlib.suppress(*_LOST):
                yield from self._fill(client)

    def _keep_again(self, task: _Task, why: str) -> Iterable[Answer]:
        """Its scheduler or its worker is gone: keep what nobody has begun.

        Where somebody has begun it, the claim tells what becomes of it.
        """
        order = task.order
        del self._tasks[order.key]
        task.future.release()
        if os.path.lexists(RunDir(order.run_dir).claim(order.attempt)):
            yield JobEnded(order.key, why)
        else:
            self._queue[order.key] = order

    def _fill(self, client: Client) -> Iterable[Answer]:
        """Hand in what there is room for, in order; what is too large for now is passed over."""
        if not self._queue and not self._tasks:
            return
        rooms, unknown = client.sync(
            client._run_on_scheduler, _rooms, list(self._tasks), callback_timeout=CONNECT_S
        )
        for task in list(self._tasks.values()):
            if task.worker is not None and task.worker not in rooms:
                self._withdraw(task.order.key, task.future)
                yield from self._keep_again(task, f"its Dask worker at {task.worker} is gone")
            elif task.worker is not None and task.order.key in unknown:  # it is on its way there
                take_room(rooms[task.worker], task.order.resources)
        for order in list(self._queue.values()):
            worker = roomiest(rooms, order.resources) if order.resources else None
            if order.resources and worker is None:
                yield from self._check(order, rooms)
                continue
            self._submit(client, order, worker)
            del self._queue[order.key]
            if worker is not None:
                take_room(rooms[worker], order.resources)

    def _is_connected(self) -> bool:
        return self._client is not None and self._client.status == "running"

    def _connect(self) -> Iterable[Answer]:
        """Reach the scheduler, and hand in anew what nobody has begun."""
        now = time.monotonic()
        if now < self._due_mono_s:
            return
        was_lost = self._client is not None
        if self._client is not None:
            with contextlib.suppress(*_LOST):
                self._client.close(CLOSE_S)
            self._client = None
            for task in list(self._tasks.values()):
                yield from self._keep_again(task, "its scheduler was lost")
        if was_lost:
            yield from self._tell_once("lost", f"lost the Dask scheduler at {self._where()}")
        try:
            self._client = self._new_client()
        except (*_LOST, TypeError, ValueError) as error:  # the last two: TLS
            self._due_mono_s = time.monotonic() + self._delay_s
            self._delay_s = min(2 * self._delay_s, MAX_DELAY_S)
            yield from self._tell_once(
                "unreached",
                f"no Dask scheduler at {self._where()} ({error}); runs wait until there is one",
            )
            return
        self._due_mono_s, self._delay_s = 0.0, FIRST_DELAY_S
        self._told.clear()
        yield AgentReady()
        if was_lost:
            yield Note(f"reached the Dask scheduler at {self._where()} again")
        yield from self._look_at_scheduler()

    def _where(self) -> str:
        return self._address or "this host"

    def _new_client(self) -> Client:
        if self._address is None:
            return Client(self._own_cluster(), set_as_default=False, timeout=CONNECT_S)
        return Client(
            self._address, set_as_default=False, timeout=CONNECT_S, name="pipeline-supervisor"
        )

    def _own_cluster(self) -> LocalCluster:
        """A cluster in this process: no dashboard, a slot for each core.

        Its two HTTP servers cannot be left out: they have no pages, and listen on loopback.
        """
        if self._cluster is None:
            routes: dict[str, list[str]] = {
                f"distributed.{part}.http.routes": [] for part in ("scheduler", "worker")
            }
            dask.config.set({_FAILURES: 0, **routes})
            self._cluster = LocalCluster(
                n_workers=1,
                threads_per_worker=WAITING_COUNT,
                processes=False,
                dashboard_address="127.0.0.1:0",
                worker_dashboard_address="127.0.0.1:0",
                scheduler_kwargs={"dashboard": False},
                resources={"slot": len(os.sched_getaffinity(0))},
            )
        return self._cluster

    def _look_at_scheduler(self) -> Iterable[Answer]:
        """Tell what of the scheduler's settings costs runs."""
        client = self._client
        if client is None:
            return
        try:
            allowed = client.run_on_scheduler(_allowed_failures)
        except Exception as error:  # noqa: BLE001 - whatever the scheduler raised comes back here
            yield Note(f"the Dask scheduler does not tell its {_FAILURES}: {error}")
            return
        if allowed != 0:
            yield Note(
                f"the Dask scheduler has {_FAILURES} = {allowed}: set it to 0, or it starts what a "
                "lost host had begun up to so many times again, each of which only finds its claim"
            )

    def _check(self, order: Place, rooms: Rooms) -> Iterable[Answer]:
        """Tell where no worker of Dask's has what an attempt takes, however free it is."""
        for name, amount in sorted(order.resources.items()):
            if max((room[name][1] for room in rooms.values() if name in room), default=0) < amount:
                yield from self._tell_once(
                    name,
                    f"no Dask worker offers {name} = {amount:g}: runs wait until one is started "
                    f"with --resources {name}=N",
                )

    def _tell_once(self, what: str, text: str) -> Iterable[Answer]:
        if what not in self._told:
            self._told.add(what)
            yield Note(text)

    def close(self) -> None:
        """Let go; what was handed in goes on, but for the queue of a cluster of our own."""
        if self._client is not None:
            with contextlib.suppress(*_LOST):
                self._client.close(CLOSE_S)
        sys.stdout.flush()
        sys.stderr.flush()
        if self._cluster is not None:
            os._exit(0)  # its threads wait for workers, which go on


def _how(future: Future) -> str | None:
    """What the engine says of a task that is finished or erred; None if it was lost.

    The connection may be lost between two calls, whatever the status was: Dask then cancels it.
    """
    try:
        match future.status:
            case "finished":
                code, words = future.result(timeout=CONNECT_S)
                return f"its process ended with {code}{words and ': '}{words}"
            case "error":
                error = future.exception(timeout=CONNECT_S)
                return f"{type(error).__name__}: {error}"
            case _:
                return None
    except CancelledError:
        return None
    except (OSError, TimeoutError):
        return "its end is not known"


# Both are sent to the scheduler as they stand here, since this module is the agent's main one.
def _rooms(keys: list[str], dask_scheduler: Any) -> tuple[Rooms, set[str]]:  # noqa: ANN401
    """What room each worker has, and which of the keys the scheduler has not heard of."""
    rooms = {}
    for address, worker in dask_scheduler.workers.items():
        is_open = worker.status.name == "running"
        rooms[address] = {
            name: [supply - worker.used_resources.get(name, 0) if is_open else 0, supply]
            for name, supply in worker.resources.items()
        }
    return rooms, {key for key in keys if key not in dask_scheduler.tasks}


def _allowed_failures(dask_scheduler: Any) -> int:  # noqa: ANN401 - distributed's Scheduler
    return int(dask_scheduler.allowed_failures)


def make(options: Mapping[str, Any]) -> Dask:
    """The engine that the settings name. What it loses we tell ourselves, once and in words."""
    logging.disable(logging.CRITICAL)
    return Dask(options.get("dask_scheduler"))


if __name__ == "__main__":
    sys.exit(main(sys.argv, make))

"""The agent of Dask: one task per attempt, which starts our worker and waits for it.

What was measured of Dask, and the consequences:

* A task is assigned to a Dask worker before that has room, stays there, and is not taken from a
  worker with free threads, as ours have, which only wait. So an attempt stays here until a worker
  has room for it, and goes to the one with the most.
* A task is run again elsewhere if a process of its host dies, also with ``retries=0``, unless
  ``distributed.scheduler.allowed-failures`` is 0. Its claim makes that harmless; we only report it.
* Cancelling a running task frees its slot and lets it continue. So only unclaimed attempts are
  cancelled here; the others end by their ``cancel.json``.
* A scheduler that dies loses its tasks: they are submitted to the next one.
* A task whose client disconnects may never begin unless it is fired and forgotten.
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
POLL_S: Final = 1.0
WAITING_COUNT: Final = 1000  # tasks that wait in threads of a cluster on this host
CLOSE_S: Final = 3.0
# Any call may raise these at any moment: a thread of the client's notices a lost connection.
_LOST: Final = (OSError, TimeoutError, CancelledError, ClosedClientError)
_FAILURES: Final = "distributed.scheduler.allowed-failures"
_SCHEDULER_LOST: Final = "its scheduler was lost"

Rooms = dict[str, dict[str, list[float]]]
"""By Dask worker and resource: how much of it is free, and how much there is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """A submitted attempt; ``worker`` is None if any Dask worker may take it."""

    order: Place
    future: Any
    worker: str | None


class Dask:
    """The engine.

    Args:
        address: of the scheduler; None for a cluster in this process, on this host alone.
    """

    every_s = POLL_S

    def __init__(self, address: str | None) -> None:
        self._address = address
        self._at = address or "this host"
        self._cluster: LocalCluster | None = None
        self._client: Client | None = None
        self._queue: dict[str, Place] = {}
        self._tasks: dict[str, _Task] = {}
        self._done: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._wakeup_r, self._wakeup_w = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._due_mono_s = 0.0
        self._delay_s = FIRST_DELAY_S
        self._reported: set[str] = set()

    def fileno(self) -> int | None:
        """Readable when a task has ended."""
        return self._wakeup_r

    def place(self, order: Place) -> Iterable[Answer]:
        """Queue an attempt until ``poll`` finds room for it."""
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
        future.add_done_callback(lambda done: self._on_done(order.key, done))

    def _on_done(self, key: str, future: Future) -> None:
        """Called in a thread of the client's."""
        self._done.put((key, future))
        with contextlib.suppress(BlockingIOError):
            os.write(self._wakeup_w, b"!")

    def cancel(self, order: Cancel) -> Iterable[Answer]:
        """Remove an unclaimed attempt from our queue and from the scheduler."""
        self._queue.pop(order.key, None)
        if not order.claimed:
            task = self._tasks.pop(order.key, None)
            self._cancel_task(order.key, None if task is None else task.future)
            yield JobEnded(order.key, "cancelled")

    def _cancel_task(self, key: str, future: Any) -> None:  # noqa: ANN401 - distributed's Future
        client = self._client
        if client is not None and self._is_connected():
            with contextlib.suppress(*_LOST):
                client.cancel([future or Future(key, client)], force=True)

    def poll(self) -> Iterable[Answer]:
        """Report ended tasks, submit attempts that there is room for, reconnect."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._wakeup_r, 4096)
        if not self._is_connected():
            yield from self._connect()
        while not self._done.empty():
            key, future = self._done.get()
            task = self._tasks.get(key)
            if task is None or task.future is not future:
                continue  # it was cancelled, or submitted again
            reason = _end_reason(future)
            if reason is None:
                yield from self._requeue(task, _SCHEDULER_LOST)
            else:
                del self._tasks[key]
                yield JobEnded(key, reason)
        client = self._client
        if client is not None and self._is_connected():
            with contextlib.suppress(*_LOST):
                yield from self._fill(client)

    def _requeue(self, task: _Task, reason: str) -> Iterable[Answer]:
        """Queue an attempt of a lost scheduler or Dask worker again, unless it is claimed."""
        order = task.order
        del self._tasks[order.key]
        task.future.release()
        if os.path.lexists(RunDir(order.run_dir).claim(order.attempt)):
            yield JobEnded(order.key, reason)
        else:
            self._queue[order.key] = order

    def _fill(self, client: Client) -> Iterable[Answer]:
        """Submit the attempts that there is room for, in order; too large ones are skipped."""
        if not self._queue and not self._tasks:
            return
        rooms, unknown = client.sync(
            client._run_on_scheduler, _rooms, list(self._tasks), callback_timeout=CONNECT_S
        )
        for task in list(self._tasks.values()):
            if task.worker is not None and task.worker not in rooms:
                self._cancel_task(task.order.key, task.future)
                yield from self._requeue(task, f"its Dask worker at {task.worker} is gone")
            elif task.worker is not None and task.order.key in unknown:  # on its way there
                _take_room(rooms[task.worker], task.order.resources)
        for order in list(self._queue.values()):
            worker = _roomiest(rooms, order.resources) if order.resources else None
            if order.resources and worker is None:
                yield from self._check_supply(order, rooms)
                continue
            self._submit(client, order, worker)
            del self._queue[order.key]
            if worker is not None:
                _take_room(rooms[worker], order.resources)

    def _is_connected(self) -> bool:
        return self._client is not None and self._client.status == "running"

    def _connect(self) -> Iterable[Answer]:
        """Reach the scheduler, and queue unclaimed attempts again."""
        if time.monotonic() < self._due_mono_s:
            return
        was_lost = self._client is not None
        if self._client is not None:
            with contextlib.suppress(*_LOST):
                self._client.close(CLOSE_S)
            self._client = None
            for task in list(self._tasks.values()):
                yield from self._requeue(task, _SCHEDULER_LOST)
            yield from self._report_once("lost", f"lost the Dask scheduler at {self._at}")
        try:
            self._client = self._new_client()
        except (*_LOST, TypeError, ValueError) as error:  # the last two: TLS
            self._due_mono_s = time.monotonic() + self._delay_s
            self._delay_s = min(2 * self._delay_s, MAX_DELAY_S)
            text = f"no Dask scheduler at {self._at} ({error}); runs wait until there is one"
            yield from self._report_once("unreached", text)
            return
        self._due_mono_s, self._delay_s = 0.0, FIRST_DELAY_S
        self._reported.clear()
        yield AgentReady()
        if was_lost:
            yield Note(f"reached the Dask scheduler at {self._at} again")
        yield from self._check_failures(self._client)

    def _new_client(self) -> Client:
        if self._address is None:
            return Client(self._own_cluster(), set_as_default=False, timeout=CONNECT_S)
        return Client(
            self._address, set_as_default=False, timeout=CONNECT_S, name="pipeline-supervisor"
        )

    def _own_cluster(self) -> LocalCluster:
        """A cluster in this process: no dashboard, one slot per core.

        Its two HTTP servers cannot be omitted: they have no pages, and listen on loopback.
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

    def _check_failures(self, client: Client) -> Iterable[Answer]:
        """Report a setting of the scheduler that makes it repeat lost tasks."""
        try:
            allowed = client.run_on_scheduler(_allowed_failures)
        except Exception as error:  # noqa: BLE001 - whatever the scheduler raised is raised here
            yield Note(f"the Dask scheduler does not report its {_FAILURES}: {error}")
            return
        if allowed != 0:
            yield Note(
                f"the Dask scheduler has {_FAILURES} = {allowed}: set it to 0, or it repeats each "
                f"task of a lost host up to {allowed} times, which only finds its attempt claimed"
            )

    def _check_supply(self, order: Place, rooms: Rooms) -> Iterable[Answer]:
        """Report if no Dask worker has what an attempt takes, however free it is."""
        for name, amount in sorted(order.resources.items()):
            if max((room[name][1] for room in rooms.values() if name in room), default=0) < amount:
                text = f"no Dask worker offers {name} = {amount:g}: runs wait until one is started"
                yield from self._report_once(name, f"{text} with --resources {name}=N")

    def _report_once(self, subject: str, text: str) -> Iterable[Answer]:
        if subject not in self._reported:
            self._reported.add(subject)
            yield Note(text)

    def close(self) -> None:
        """Disconnect; submitted tasks continue, except those queued in a cluster of our own."""
        if self._client is not None:
            with contextlib.suppress(*_LOST):
                self._client.close(CLOSE_S)
        sys.stdout.flush()
        sys.stderr.flush()
        if self._cluster is not None:
            os._exit(0)  # its threads wait for workers, which continue


def _end_reason(future: Future) -> str | None:
    """How a finished or erred task ended; None if it was lost.

    The connection may be lost between two calls, whatever the status was: Dask then cancels it.
    """
    try:
        match future.status:
            case "finished":
                code, text = future.result(timeout=CONNECT_S)
                return f"its process ended with {code}{text and ': '}{text}"
            case "error":
                error = future.exception(timeout=CONNECT_S)
                return f"{type(error).__name__}: {error}"
            case _:
                return None
    except CancelledError:
        return None
    except (OSError, TimeoutError):
        return "its end is unknown"


def _roomiest(rooms: Rooms, wanted: Mapping[str, float]) -> str | None:
    """The worker with the most room of those that have enough, None if there is none."""
    candidates = [
        (min(room[name][0] - amount for name, amount in wanted.items()), address)
        for address, room in rooms.items()
        if all(name in room and room[name][0] >= amount for name, amount in wanted.items())
    ]
    return max(candidates)[1] if candidates else None


def _take_room(room: dict[str, list[float]], wanted: Mapping[str, float]) -> None:
    for name, amount in wanted.items():
        if name in room:
            room[name][0] -= amount


# The scheduler gets the code of these two, since this module is the agent's main one.
def _rooms(keys: list[str], dask_scheduler: Any) -> tuple[Rooms, set[str]]:  # noqa: ANN401
    """The room of each worker, and the keys that the scheduler does not know yet."""
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
    """The engine of the settings; Dask's own log is off, since we report what it loses."""
    logging.disable(logging.CRITICAL)
    return Dask(options.get("dask_scheduler"))


if __name__ == "__main__":
    sys.exit(main(sys.argv, make))

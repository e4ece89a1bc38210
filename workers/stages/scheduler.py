"""Running stages side by side: each is a generator that yields what it waits for.

So a worker has one thread of control besides the heartbeat, for one stage or ten: nothing in a
stage needs a lock, and the journal has one writer.
"""

import select
import time
from collections.abc import Generator, Hashable
from dataclasses import field
from typing import Final, Generic, TypeVar

from workers.records.dataclass import dataclass
from workers.stages.control import Control

Key = TypeVar("Key", bound=Hashable)
Outcome = TypeVar("Outcome")
_PRECISE_S: Final = 0.005  # poll counts whole milliseconds; output is gathered for less
_SELECT_LIMIT: Final = 1024  # select supports descriptors below this only


@dataclass(frozen=True, slots=True)
class WaitUntil:
    """What a stage waits for.

    Attributes:
        until_mono_s: it continues at this time at the latest.
        fds: it continues when one of these is readable.
    """

    until_mono_s: float
    fds: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Wakeup:
    """Why a stage continues.

    Attributes:
        fds: those of its descriptors that are readable, or whose other end is closed.
        signalled: there was a signal, the end of a child, or a request to end.
    """

    fds: tuple[int, ...] = ()
    signalled: bool = False


StageTask = Generator[WaitUntil, Wakeup, Outcome]


@dataclass(slots=True)
class _Stage(Generic[Outcome]):
    task: StageTask[Outcome]
    wait: WaitUntil
    ready: list[int] = field(default_factory=list)


class Scheduler(Generic[Key, Outcome]):
    """Resumes each stage when what it waits for has happened.

    Args:
        control: only the scheduler reads its ``wakeup_r``, so no stage misses a wakeup.

    Attributes:
        current: the stage that is being resumed, or that raised an exception; else None.
    """

    def __init__(self, control: Control) -> None:
        self.current: Key | None = None
        self._control = control
        self._stages: dict[Key, _Stage[Outcome]] = {}
        self._of_fd: dict[int, _Stage[Outcome]] = {}
        self._poll = select.poll()
        self._poll.register(control.wakeup_r, select.POLLIN)

    def __len__(self) -> int:
        return len(self._stages)

    def start(self, key: Key, task: StageTask[Outcome]) -> list[tuple[Key, Outcome]]:
        """Start a stage.

        Returns:
            Its key and outcome if it has ended at once; else nothing.
        """
        stage = _Stage(task, WaitUntil(0.0))
        self._stages[key] = stage
        return self._resume(key, stage, None)

    def run_once(self) -> list[tuple[Key, Outcome]]:
        """Wait until a stage can continue, and resume every stage that can.

        Returns:
            The keys and outcomes of those that have ended.
        """
        signalled = False
        for fd in self._readable():
            if fd == self._control.wakeup_r:
                signalled = True
            else:
                self._of_fd[fd].ready.append(fd)
        if signalled:
            self._control.check()  # first: a child that ends from now on causes a new wakeup
        now = time.monotonic()
        ended = []
        for key, stage in tuple(self._stages.items()):
            if signalled or stage.ready or now >= stage.wait.until_mono_s:
                wakeup = Wakeup(tuple(stage.ready), signalled)
                stage.ready.clear()
                ended += self._resume(key, stage, wakeup)
        return ended

    def close(self) -> None:
        """Close every stage's generator, so that it releases what it has open."""
        for stage in self._stages.values():
            stage.task.close()
        self._stages.clear()

    def _readable(self) -> list[int]:
        due = min(stage.wait.until_mono_s for stage in self._stages.values())
        left_s = max(0.0, due - time.monotonic())  # poll waits for ever if it is negative
        if left_s < _PRECISE_S and max(self._of_fd, default=0) < _SELECT_LIMIT:
            return select.select([self._control.wakeup_r, *self._of_fd], [], [], left_s)[0]
        return [fd for fd, _ in self._poll.poll(left_s * 1000)]

    def _resume(
        self, key: Key, stage: _Stage[Outcome], wakeup: Wakeup | None
    ) -> list[tuple[Key, Outcome]]:
        self.current = key
        try:
            wait = next(stage.task) if wakeup is None else stage.task.send(wakeup)
        except StopIteration as end:
            self.current = None
            self._register(stage, WaitUntil(0.0))
            del self._stages[key]
            return [(key, end.value)]
        self.current = None
        self._register(stage, wait)
        return []

    def _register(self, stage: _Stage[Outcome], wait: WaitUntil) -> None:
        """Poll the descriptors of ``wait``; a stage closes a descriptor only after this."""
        if wait.fds != stage.wait.fds:
            for fd in stage.wait.fds:
                if fd not in wait.fds:
                    self._poll.unregister(fd)
                    del self._of_fd[fd]
            for fd in wait.fds:
                if fd not in self._of_fd:
                    self._poll.register(fd, select.POLLIN)
                    self._of_fd[fd] = stage
        stage.wait = wait

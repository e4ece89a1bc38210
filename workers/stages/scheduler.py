"""Stages side by side: each is a generator that says what it waits for, and one loop waits for all.

So a worker has one thread of control (beside the pulse), whether one stage is on or ten: nothing
in a stage needs a lock, and the journal has one writer.
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
_PRECISE_S: Final = 0.005  # poll counts in whole milliseconds; what gathers output counts in less
_SELECT_LIMIT: Final = 1024  # select takes no descriptor from here on


@dataclass(frozen=True, slots=True)
class WaitUntil:
    """What a stage waits for.

    Attributes:
        until_mono_s: it goes on then at the latest.
        fds: it goes on when one of these can be read.
    """

    until_mono_s: float
    fds: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Wakeup:
    """Why a stage goes on.

    Attributes:
        fds: those of its descriptors that can be read, or whose other end is closed.
        rang: there was a signal, a child's end or a wish to stop.
    """

    fds: tuple[int, ...] = ()
    rang: bool = False


StageTask = Generator[WaitUntil, Wakeup, Outcome]


@dataclass(slots=True)
class _Stage(Generic[Outcome]):
    steps: StageTask[Outcome]
    wait: WaitUntil
    ready: list[int] = field(default_factory=list)


class Scheduler(Generic[Key, Outcome]):
    """Gives every stage its turn when what it waits for is there.

    Args:
        control: its bell is heard here and nowhere else, so that no stage misses it.

    Attributes:
        at: the stage that has its turn, also when something it did was raised; else None.
    """

    def __init__(self, control: Control) -> None:
        self.at: Key | None = None
        self._control = control
        self._stages: dict[Key, _Stage[Outcome]] = {}
        self._of_fd: dict[int, _Stage[Outcome]] = {}
        self._poll = select.poll()
        self._poll.register(control.bell_fd, select.POLLIN)

    def __len__(self) -> int:
        return len(self._stages)

    def begin(self, key: Key, steps: StageTask[Outcome]) -> list[tuple[Key, Outcome]]:
        """Let a stage begin.

        Returns:
            Its key and outcome where it has ended at once; else nothing.
        """
        stage = _Stage(steps, WaitUntil(0.0))
        self._stages[key] = stage
        return self._resume(key, stage, None)

    def turn(self) -> list[tuple[Key, Outcome]]:
        """Wait until a stage can go on, and let all that can do so.

        Returns:
            The keys and outcomes of those that have ended.
        """
        rang = False
        for fd in self._readable():
            if fd == self._control.bell_fd:
                rang = True
            else:
                self._of_fd[fd].ready.append(fd)
        if rang:
            self._control.look()  # first: a child that ends from now on rings anew
        now = time.monotonic()
        ended = []
        for key, stage in tuple(self._stages.items()):
            if rang or stage.ready or now >= stage.wait.until_mono_s:
                came = Wakeup(tuple(stage.ready), rang)
                stage.ready.clear()
                ended += self._resume(key, stage, came)
        return ended

    def close(self) -> None:
        """Let every stage put away what it has open; none goes on."""
        for stage in self._stages.values():
            stage.steps.close()
        self._stages.clear()

    def _readable(self) -> list[int]:
        due = min(stage.wait.until_mono_s for stage in self._stages.values())
        left_s = max(0.0, due - time.monotonic())  # poll takes what is below zero for ever
        if left_s < _PRECISE_S and max(self._of_fd, default=0) < _SELECT_LIMIT:
            return select.select([self._control.bell_fd, *self._of_fd], [], [], left_s)[0]
        return [fd for fd, _ in self._poll.poll(left_s * 1000)]

    def _resume(
        self, key: Key, stage: _Stage[Outcome], came: Wakeup | None
    ) -> list[tuple[Key, Outcome]]:
        self.at = key
        try:
            wait = next(stage.steps) if came is None else stage.steps.send(came)
        except StopIteration as end:
            self.at = None
            self._hear(stage, WaitUntil(0.0))
            del self._stages[key]
            return [(key, end.value)]
        self.at = None
        self._hear(stage, wait)
        return []

    def _hear(self, stage: _Stage[Outcome], wait: WaitUntil) -> None:
        """Wait for other descriptors than before. A stage closes one only after it let go of it."""
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

"""Stages are resumed in time, whatever their number of descriptors."""

import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from workers.stages import scheduler as scheduler_module
from workers.stages.control import Control
from workers.stages.scheduler import Scheduler, StageTask, WaitUntil

DEADLINE_S = 5.0


@pytest.fixture
def control(tmp_path: Path) -> Control:
    return Control(str(tmp_path / "cancel.json"))


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def waits(*fds: int, s: float) -> StageTask[bool]:
    """Wait once; returns whether a descriptor was the reason to continue."""
    wakeup = yield WaitUntil(time.monotonic() + s, fds)
    return bool(wakeup.fds)


def test_descriptor_above_the_limit_of_select_is_polled(
    control: Control, pipe: tuple[int, int]
) -> None:
    high = fcntl.fcntl(pipe[0], fcntl.F_DUPFD_CLOEXEC, 1100)
    try:
        scheduler: Scheduler[str, bool] = Scheduler(control)
        scheduler.start("s", waits(high, s=scheduler_module._PRECISE_S / 2))
        assert scheduler.run_once() == [("s", False)]
        scheduler.start("s", waits(high, s=DEADLINE_S))
        os.write(pipe[1], b"x")
        assert scheduler.run_once() == [("s", True)]
    finally:
        os.close(high)


def test_overdue_stage_does_not_wait_if_select_cannot_be_used(
    control: Control, pipe: tuple[int, int]
) -> None:
    high = fcntl.fcntl(pipe[0], fcntl.F_DUPFD_CLOEXEC, 1100)
    try:
        scheduler: Scheduler[str, bool] = Scheduler(control)
        scheduler.start("late", waits(high, s=-1.0))
        import signal

        def ring(*_: object) -> None:
            raise AssertionError("it waited for an overdue stage")

        old = signal.signal(signal.SIGALRM, ring)
        signal.setitimer(signal.ITIMER_REAL, DEADLINE_S)
        try:
            assert scheduler.run_once() == [("late", False)]
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, old)
    finally:
        os.close(high)

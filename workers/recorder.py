"""Telling the journal, and what every stage works with."""

import contextlib
import select
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from workers.control import Control
from workers.records.clock import Clock
from workers.records.journal import Event, JournalWriter
from workers.records.layout import Layout, RunDir
from workers.records.spec import RunSpec

WRITE_TRIES_COUNT: Final = 5
WRITE_DELAY_S: Final = 0.2  # doubled each time: 0.2 + 0.4 + 0.8 + 1.6 s, below the 10 s of the PRD


@dataclass(slots=True, kw_only=True)
class Bench:
    """What every stage works with."""

    layout: Layout
    run: RunDir
    spec: RunSpec
    control: Control
    clock: Clock


class Recorder:
    """Writes facts, and does not let a full disk end a run.

    Args:
        journal: the journal.
        control: a wish to stop ends the patience for the verdict.
    """

    def __init__(self, journal: JournalWriter, control: Control) -> None:
        self._journal = journal
        self._control = control
        self.lost_count = 0

    @property
    def slowest_s(self) -> float:
        """The longest append so far."""
        return self._journal.slowest_s

    def fact(self, event: Event, data: Mapping[str, Any], *, flush: bool = True) -> None:
        """Write a fact, a few times if need be; one that is lost is counted and warned of."""
        delay_s = WRITE_DELAY_S
        for attempt in range(WRITE_TRIES_COUNT):
            with contextlib.suppress(OSError):
                self._journal.append(event, data, flush=flush)
                return
            if attempt < WRITE_TRIES_COUNT - 1:
                time.sleep(delay_s)
                delay_s *= 2
        self.lost_count += 1

    def verdict(self, data: Mapping[str, Any]) -> bool:
        """Write the verdict, again and again until it stands or somebody tells us to stop."""
        delay_s = WRITE_DELAY_S
        while True:
            with contextlib.suppress(OSError):
                self._journal.append(Event.VERDICT, data)
                return True
            if self._control.look() is not None:
                return False
            select.select([self._control.bell_fd], [], [], delay_s)
            delay_s = min(2 * delay_s, 5.0)

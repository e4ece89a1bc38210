"""Telling the journal, and what every stage works with.

A fact that cannot be written is owed: it is written before the next one, so the order stands and a
full disk costs nothing but time. The verdict waits for as long as it takes.
"""

import select
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from workers.processes.containment import Containment
from workers.records.clock import Clock
from workers.records.journal import Event, JournalWriter
from workers.records.layout import Layout, RunDir
from workers.records.spec import RunSpec
from workers.stages.control import Control
from workers.stages.host_client import HostClient

WRITE_TRIES_COUNT: Final = 5
WRITE_DELAY_S: Final = 0.2  # doubled each time: 0.2 + 0.4 + 0.8 + 1.6 s, below the 10 s of the PRD
VERDICT_DELAY_LIMIT_S: Final = 1.0  # a disk that has room again is noticed so soon


@dataclass(slots=True, kw_only=True)
class StageContext:
    """What every stage works with.

    Attributes:
        host: the process that hosts a caller's run, and the runs of its sub-pipelines; else None.
    """

    layout: Layout
    run: RunDir
    spec: RunSpec
    environ: Mapping[str, str]
    control: Control
    containment: Containment
    clock: Clock
    root_id: str
    attempt: int = 1
    host: HostClient | None = None


class Recorder:
    """Writes facts, and does not let a full disk end a run.

    Args:
        journal: the journal.
        control: a new wish to stop ends the patience for the verdict; one whose claim was taken
            away tells nothing more.
    """

    def __init__(self, journal: JournalWriter, control: Control) -> None:
        self._journal = journal
        self._control = control
        self._owed: deque[tuple[Event, Mapping[str, Any], bool]] = deque()
        self._refused_count = 0
        self._why = ""

    @property
    def slowest_s(self) -> float:
        """The longest append so far."""
        return self._journal.slowest_s

    def fact(self, event: Event, data: Mapping[str, Any], *, flush: bool = True) -> None:
        """Write a fact, a few times if need be; else it is owed.

        Where facts are owed already there is one try only, so that the run is not held up by each.
        """
        tries = 1 if self._owed else WRITE_TRIES_COUNT
        self._owed.append((event, data, flush))
        delay_s = WRITE_DELAY_S
        for left in reversed(range(tries)):
            if self._pay() or self._control.is_fenced():
                return
            if left:
                time.sleep(delay_s)
                delay_s *= 2

    def warn(self, code: str, message: str) -> None:
        """Write a warning."""
        self.fact(Event.WARNING, {"code": code, "message": message}, flush=False)

    def verdict(self, data: Mapping[str, Any], on_wait: Callable[[], None]) -> bool:
        """Write the verdict, again and again until it stands or somebody tells us to stop anew.

        Args:
            data: the verdict.
            on_wait: called before each further try; keeps the heart beating.

        Returns:
            False where it could not be written, or is not ours to tell any more.
        """
        told = self._control.stop_count
        self._owed.append((Event.VERDICT, data, True))
        delay_s = WRITE_DELAY_S
        while not self._pay():
            self._control.look()
            if self._control.stop_count > told or self._control.is_fenced():
                return False
            on_wait()
            select.select([self._control.bell_fd], [], [], delay_s)
            delay_s = min(2 * delay_s, VERDICT_DELAY_LIMIT_S)
        return True

    def _pay(self) -> bool:
        """Write what is owed, in order; False where the system refuses, or we may not speak."""
        while self._owed:
            if self._control.is_fenced():
                return False
            event, data, flush = self._owed[0]
            try:
                if event is Event.VERDICT and self._refused_count:
                    self._journal.append(Event.WARNING, self._warning(), flush=False)
                    self._refused_count = 0
                self._journal.append(event, data, flush=flush)
            except OSError as error:
                self._refused_count += 1
                self._why = str(error.strerror)
                return False
            self._owed.popleft()
        return True

    def _warning(self) -> Mapping[str, Any]:
        message = f"{self._refused_count} writes were refused and made up for: {self._why}"
        return {"code": "journal_refused", "message": message}

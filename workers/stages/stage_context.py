"""What every stage works with, and the recorder of its facts.

A fact that cannot be written is kept and written before the next one, so the order stays and a full
disk costs only time. The verdict waits as long as it takes.
"""

import select
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from workers.processes.containment import Containment
from workers.processes.fork_protocol import HostClient
from workers.records.clock import Clock
from workers.records.journal import Event, JournalWriter
from workers.records.layout import Layout, RunDir
from workers.records.spec import RunSpec
from workers.stages.control import Control

WRITE_TRIES_COUNT: Final = 5
WRITE_DELAY_S: Final = 0.2  # doubled each time: 0.2 + 0.4 + 0.8 + 1.6 s, below the PRD's 10 s
VERDICT_DELAY_LIMIT_S: Final = 1.0  # between two tries of the verdict


class Recorder:
    """Writes facts to the journal; a full disk does not end the run.

    Args:
        journal: the journal.
        control: a new stop signal ends the tries to write the verdict; if its claim was revoked,
            nothing is written.
    """

    def __init__(self, journal: JournalWriter, control: Control) -> None:
        self._journal = journal
        self._control = control
        self._pending: deque[tuple[Event, Mapping[str, Any], bool]] = deque()
        self._refused_count = 0
        self._refusal = ""

    @property
    def slowest_s(self) -> float:
        """The longest append so far."""
        return self._journal.slowest_s

    def record(self, event: Event, data: Mapping[str, Any], *, flush: bool = True) -> None:
        """Write a fact, in up to WRITE_TRIES_COUNT tries; if all fail it stays pending.

        If facts are pending already, there is only one try, so that not every fact delays the run.
        """
        tries = 1 if self._pending else WRITE_TRIES_COUNT
        self._pending.append((event, data, flush))
        delay_s = WRITE_DELAY_S
        for left in reversed(range(tries)):
            if self._write_pending() or self._control.is_fenced():
                return
            if left:
                time.sleep(delay_s)
                delay_s *= 2

    def warn(self, code: str, message: str) -> None:
        """Write a warning."""
        self.record(Event.WARNING, {"code": code, "message": message}, flush=False)

    def record_verdict(self, data: Mapping[str, Any], on_wait: Callable[[], None]) -> bool:
        """Write the verdict; try until it is written or another stop signal arrives.

        Args:
            data: the verdict.
            on_wait: called before each further try; writes a heartbeat.

        Returns:
            False if it could not be written, or is not ours to write any more.
        """
        stop_count = self._control.stop_count
        self._pending.append((Event.VERDICT, data, True))
        delay_s = WRITE_DELAY_S
        while not self._write_pending():
            self._control.check()
            if self._control.stop_count > stop_count or self._control.is_fenced():
                return False
            on_wait()
            select.select([self._control.wakeup_r], [], [], delay_s)
            delay_s = min(2 * delay_s, VERDICT_DELAY_LIMIT_S)
        return True

    def _write_pending(self) -> bool:
        """Write pending facts in order; False if the system refuses, or our claim was revoked."""
        while self._pending:
            if self._control.is_fenced():
                return False
            event, data, flush = self._pending[0]
            try:
                if event is Event.VERDICT and self._refused_count:
                    self._journal.append(Event.WARNING, self._refusals(), flush=False)
                    self._refused_count = 0
                self._journal.append(event, data, flush=flush)
            except OSError as error:
                self._refused_count += 1
                self._refusal = str(error.strerror)
                return False
            self._pending.popleft()
        return True

    def _refusals(self) -> Mapping[str, Any]:
        message = f"{self._refused_count} writes were refused, then repeated: {self._refusal}"
        return {"code": "journal_refused", "message": message}


@dataclass(slots=True, kw_only=True)
class StageContext:
    """What every stage of a run works with.

    Attributes:
        environ: the environment that those of stages are based on.
        root_id: identity of the run's root.
        host: the process that hosts a caller's run and those of its sub-pipelines; else None.
    """

    layout: Layout
    run: RunDir
    spec: RunSpec
    environ: Mapping[str, str]
    control: Control
    containment: Containment
    clock: Clock
    recorder: Recorder
    root_id: str
    attempt: int = 1
    host: HostClient | None = None

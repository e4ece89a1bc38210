"""How ``start`` tells what happens: plain lines, or JSON; ``telling`` has what a terminal gets.

Results (a finished run) go to stdout, messages to stderr. A reader that went away or does not read
never stops the supervisor: what cannot be said is counted and left out.
"""

import sys
import time
from collections.abc import Iterable
from typing import Any, Final

from supervisor.core.policy.exit_codes import FinishedRun
from supervisor.report.read.run_rows import Row
from supervisor.report.text.nonblocking_stream import Outlet
from supervisor.report.text.output import duration, json_line
from supervisor.report.text.sanitize import bounded, clean_line
from workers.records.spec import RunSpec

_PATIENCE_S: Final = 1.0  # for a reader that is only slow, once, when all else is done


class CountingReporter:
    """Counts what happened, and swallows what cannot be said.

    Attributes:
        queued_count, running_count, done_count, failed_count: runs, sub-pipelines' runs included.
        results, messages: stdout and stderr, which are never waited for.
    """

    def __init__(self) -> None:
        self.queued_count = 0
        self.running_count = 0
        self.done_count = 0
        self.failed_count = 0
        self.results = Outlet(sys.stdout)
        self.messages = Outlet(sys.stderr)
        self.began_mono_s = time.monotonic()
        self._running: set[str] = set()

    @property
    def dropped_count(self) -> int:
        """Lines that nobody would take."""
        return self.results.dropped_count + self.messages.dropped_count

    def accepted(self, spec: RunSpec) -> None:
        """A run is queued."""
        del spec
        self.queued_count += 1

    def launched(self, spec: RunSpec) -> None:
        """A run has a worker."""
        self._running.add(spec.run_id)
        self.running_count = len(self._running)

    def adopted(self, spec: RunSpec) -> None:
        """A run was found with a living worker."""
        self.queued_count += 1
        self.launched(spec)

    def finished(self, run: FinishedRun) -> None:
        """A run is on record."""
        self._running.discard(run.spec.run_id)
        self.running_count = len(self._running)
        self.done_count += 1
        self.failed_count += run.status == "failed"
        self.print_finished(run)

    def print_finished(self, run: FinishedRun) -> None:
        """Tell that a run is on record."""
        raise NotImplementedError

    def note(self, text: str) -> None:
        """Something that a person should know."""
        self.messages.write(f"supervisor: {bounded(clean_line(text))}\n")

    def age_s(self) -> float:
        """Seconds since we began to count."""
        return time.monotonic() - self.began_mono_s

    def update_rows(self, rows: Iterable[Row]) -> None:
        """How far the runs are that are under way."""

    def tick(self) -> None:
        """A turn of the loop has ended."""

    def close(self) -> None:
        """Nothing more happens; what came of it may still be told."""

    def settle(self) -> None:
        """Wait a little for readers that are slow, and leave out what they do not take."""
        until = time.monotonic() + _PATIENCE_S
        for outlet in (self.results, self.messages):
            outlet.settle(until - time.monotonic())


def line_of(run: FinishedRun) -> str:
    """One finished run as a line behind its status; the reason of a failure is a second one."""
    spec = run.spec
    line = f"  {spec.run_id}  {duration(run.duration_s):>6}  {spec.task_id}  {spec.pipeline.id}"
    if spec.parent_run_id is not None:
        line += f" (of {spec.parent_run_id[-8:]})"
    if run.status == "succeeded":
        return clean_line(line)
    detail = clean_line(f"{line}  {run.detail or ''}").rstrip()
    return f"{detail}\n           {clean_line(run.reason)}" if run.reason else detail


class PlainReporter(CountingReporter):
    """One line per finished run."""

    def print_finished(self, run: FinishedRun) -> None:
        """Print the line."""
        self.results.write(f"{run.status:<9}{line_of(run)}\n")


class JsonReporter(CountingReporter):
    """One JSON object per finished run."""

    def print_finished(self, run: FinishedRun) -> None:
        """Print the object."""
        facts: dict[str, Any] = {
            "run_id": run.spec.run_id,
            "task_id": run.spec.task_id,
            "pipeline_id": run.spec.pipeline.id,
            "parent_run_id": run.spec.parent_run_id,
            "status": run.status,
            "status_detail": run.detail,
            "reason": run.reason,
            "duration_s": run.duration_s,
            "manifest": run.manifest,
        }
        self.results.write(json_line("run-finished", facts))

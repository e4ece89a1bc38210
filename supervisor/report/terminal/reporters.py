"""What ``start`` prints while it supervises: plain lines, JSON, or a picture drawn in place.

Results (finished runs) go to stdout, messages to stderr. A reader that went away or does not read
never stops the supervisor: what the streams do not take is counted and left out.
"""

import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

from supervisor.core.policy.exit_codes import FinishedRun
from supervisor.report.read.run_rows import Row
from supervisor.report.terminal.live_display import LiveRegion
from supervisor.report.terminal.run_table import Line, fit_table
from supervisor.report.text.nonblocking_stream import Outlet
from supervisor.report.text.output import duration, json_line, wants_colours, width
from supervisor.report.text.sanitize import bounded, clean_line
from workers.records.clock import epoch_of
from workers.records.spec import RunSpec

DRAW_S: Final = 0.25  # a person does not read faster
_PATIENCE_S: Final = 1.0  # for a slow reader, once, at the end


class CountingReporter:
    """Counts runs; what it prints is up to its subclasses.

    Attributes:
        queued_count, running_count, done_count, failed_count: runs, child runs included.
        results, messages: stdout and stderr; nothing waits for them.
    """

    def __init__(self) -> None:
        self.queued_count = 0
        self.done_count = 0
        self.failed_count = 0
        self.results = Outlet(sys.stdout)
        self.messages = Outlet(sys.stderr)
        self.began_mono_s = time.monotonic()
        self._running: set[str] = set()

    @property
    def running_count(self) -> int:
        """Runs with a worker."""
        return len(self._running)

    @property
    def dropped_count(self) -> int:
        """Texts that the streams did not take."""
        return self.results.dropped_count + self.messages.dropped_count

    def accepted(self, spec: RunSpec) -> None:
        """A run is queued."""
        del spec
        self.queued_count += 1

    def launched(self, spec: RunSpec) -> None:
        """A run has a worker."""
        self._running.add(spec.run_id)

    def adopted(self, spec: RunSpec) -> None:
        """A run of an earlier supervisor has a live worker."""
        self.queued_count += 1
        self.launched(spec)

    def finished(self, run: FinishedRun) -> None:
        """A run's verdict is recorded."""
        self._running.discard(run.spec.run_id)
        self.done_count += 1
        self.failed_count += run.status == "failed"
        self.print_finished(run)

    def print_finished(self, run: FinishedRun) -> None:
        """Print a finished run."""
        raise NotImplementedError

    def note(self, text: str) -> None:
        """Print a message for people."""
        self.messages.write(f"supervisor: {bounded(clean_line(text))}\n")

    def age_s(self) -> float:
        """Seconds since the reporter was created."""
        return time.monotonic() - self.began_mono_s

    def update_rows(self, rows: Iterable[Row]) -> None:
        """The active runs after a scan."""

    def tick(self) -> None:
        """A turn of the loop has ended."""

    def close(self) -> None:
        """Stop drawing; notes may follow."""

    def settle(self) -> None:
        """Wait briefly for slow readers, and drop what they do not take."""
        until = time.monotonic() + _PATIENCE_S
        for outlet in (self.results, self.messages):
            outlet.settle(until - time.monotonic())


def _finished_line(run: FinishedRun) -> str:
    """A finished run, without its status; a second line has the reason of a failure."""
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
        self.results.write(f"{run.status:<9}{_finished_line(run)}\n")


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


class LiveReporter(CountingReporter):
    """For a terminal: running runs are drawn at the bottom, finished ones scroll above them."""

    def __init__(self) -> None:
        super().__init__()
        colours = wants_colours(sys.stdout)
        self._region: LiveRegion | None = LiveRegion(self.results, colours=colours)
        self._rows: dict[str, Row] = {}
        self._drawn_mono_s = 0.0

    def launched(self, spec: RunSpec) -> None:
        """A run has a worker."""
        super().launched(spec)
        self._rows[spec.run_id] = Row(
            run_id=spec.run_id,
            task_id=spec.task_id,
            pipeline_id=spec.pipeline.id,
            status="in_progress",
            stages_count=len(spec.pipeline.stages),
            stages_ended_count=0,
        )

    def update_rows(self, rows: Iterable[Row]) -> None:
        """The active runs after a scan."""
        self._rows = {row.run_id: row for row in rows if row.run_id in self._running}

    def tick(self) -> None:
        """Draw, at most four times a second, and not on a terminal that is stopped."""
        now = time.monotonic()
        if self._region is None or now - self._drawn_mono_s < DRAW_S or not self.results.is_idle:
            return
        self._drawn_mono_s = now
        columns, rows = self.results.size()
        self._region.draw(
            fit_table(
                self._headline(),
                [_aged(row) for row in self._rows.values()],
                columns=columns - 1,  # after a full line the cursor's place is undefined
                height=max(1, rows // 2),  # the other half is for the lines above
                finished=False,
            )
        )

    def _headline(self) -> Line:
        queued_count = max(0, self.queued_count - self.done_count - self.running_count)
        done = f"{self.done_count}/{self.queued_count} done"
        return Line(
            f"{done}  {self.running_count} running  {queued_count} queued  ",
            f"{self.failed_count} failed",
            f"  {duration(self.age_s())}",
            "failed" if self.failed_count else "head",
        )

    def print_finished(self, run: FinishedRun) -> None:
        """Print the line above the region."""
        self._rows.pop(run.spec.run_id, None)
        first, *more = _finished_line(run).split("\n")
        line = Line("", f"{run.status:<9}", first, run.status)
        if width(str(line)) > self.results.size()[0]:
            line = replace(line, rest=first.replace(run.spec.run_id, run.spec.run_id[-8:], 1))
        for item in (line, *map(Line, more)):
            if self._region is not None:
                self._region.print(item)
            else:
                self.results.write(f"{item}\n")

    def note(self, text: str) -> None:
        """Print a message above the region, or on stderr once there is none."""
        if self._region is not None:
            self._region.print(Line("", bounded(clean_line(text)), "", "cancelled"))
        else:
            super().note(text)

    def close(self) -> None:
        """Erase the region."""
        if self._region is not None:
            self._region.clear()
            self._region = None


def _aged(row: Row) -> Row:
    """A row with its duration up to now."""
    try:
        began_s = None if row.started_at is None else epoch_of(row.started_at)
    except ValueError:
        return row
    return row if began_s is None else replace(row, duration_s=max(0.0, time.time() - began_s))

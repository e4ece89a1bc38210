"""What ``start`` shows on a terminal: finished runs above, what is under way below, in place."""

import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from supervisor.core.policy.exit_codes import FinishedRun
from supervisor.report.read.run_rows import Row
from supervisor.report.terminal.fit_to_screen import fit_table
from supervisor.report.terminal.live_display import LiveRegion
from supervisor.report.terminal.reporters import CountingReporter, line_of
from supervisor.report.terminal.run_table import Line
from supervisor.report.text.columns import width
from supervisor.report.text.output import duration
from supervisor.report.text.sanitize import bounded, clean_line
from workers.records.clock import epoch_of
from workers.records.spec import RunSpec

DRAW_S: Final = 0.25  # a person does not read faster


class LiveReporter(CountingReporter):
    """What is under way, at the bottom of the terminal; finished runs scroll above it."""

    def __init__(self) -> None:
        super().__init__()
        self._region: LiveRegion | None = LiveRegion(self.results)
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
            note=None,
            started_at=None,
            duration_s=None,
            stages_count=len(spec.pipeline.stages),
            stages_ended_count=0,
        )

    def update_rows(self, rows: Iterable[Row]) -> None:
        """How far the runs are that are under way."""
        self._rows = {row.run_id: row for row in rows if row.run_id in self._running}

    def tick(self) -> None:
        """Redraw, at most four times a second, and not for a terminal that is stopped."""
        now = time.monotonic()
        if self._region is None or now - self._drawn_mono_s < DRAW_S or not self.results.is_idle:
            return
        self._drawn_mono_s = now
        columns, rows = self._region.size()
        self._region.draw(
            fit_table(
                self._headline(),
                [_aged(row) for row in self._rows.values()],
                columns=columns - 1,  # a full line would leave the cursor in doubt
                height=max(1, rows // 2),  # the lines above have their half
                finished=False,
            )
        )

    def _headline(self) -> Line:
        waiting_count = max(0, self.queued_count - self.done_count - self.running_count)
        done = f"{self.done_count}/{self.queued_count} done"
        rest = f"  {self.running_count} running  {waiting_count} queued  "
        failed = f"{self.failed_count} failed"
        return Line(
            done + rest,
            failed,
            f"  {duration(self.age_s())}",
            "failed" if self.failed_count else "head",
        )

    def print_finished(self, run: FinishedRun) -> None:
        """Print the line above what is under way."""
        self._rows.pop(run.spec.run_id, None)
        first, *more = line_of(run).split("\n")
        line = Line("", f"{run.status:<9}", first, run.status)
        if width(str(line)) > self.results.size()[0]:
            line = replace(line, rest=first.replace(run.spec.run_id, run.spec.run_id[-8:], 1))
        self._print(line)
        for text in more:
            self._print(Line(text))

    def note(self, text: str) -> None:
        """Print a message above what is under way, while something is."""
        if self._region is not None:
            self._print(Line("", bounded(clean_line(text)), "", "cancelled"))
        else:
            super().note(text)

    def _print(self, line: Line) -> None:
        if self._region is not None:
            self._region.print(line)
        else:
            self.results.write(f"{line}\n")

    def close(self) -> None:
        """Take away what is drawn."""
        if self._region is not None:
            self._region.clear()
            self._region = None


def _aged(row: Row) -> Row:
    """A row with the time that it has taken by now."""
    if row.started_at is None:
        return row
    try:
        age_s = max(0.0, time.time() - epoch_of(row.started_at))
    except ValueError:
        return row
    return replace(row, duration_s=age_s)

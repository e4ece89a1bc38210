"""How ``start`` tells what happens: a live line in a terminal, plain lines elsewhere, or JSON.

Results (a finished run) go to stdout, messages to stderr. A reader that went away or does not read
never stops the supervisor: what cannot be said is counted and left out.
"""

import select
import sys
import time
from typing import Any, TextIO

from supervisor.core.outcome import FinishedRun
from supervisor.report.clean import clean_line
from supervisor.report.text import duration, print_json, say
from workers.records.spec import RunSpec


def is_read(stream: TextIO) -> bool:
    """Tell whether a line can be written now without waiting for whoever reads it."""
    try:
        return bool(select.select([], [stream], [], 0)[1])
    except (OSError, ValueError):
        return False


class Tally:
    """Counts what happened, and swallows what cannot be said.

    Attributes:
        queued_count, running_count, done_count, failed_count: runs, sub-pipelines' runs included.
        unsaid_count: lines that nobody would take.
    """

    def __init__(self) -> None:
        self.queued_count = 0
        self.running_count = 0
        self.done_count = 0
        self.failed_count = 0
        self.unsaid_count = 0
        self.began_mono_s = time.monotonic()
        self._running: set[str] = set()

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
        if not is_read(sys.stdout):
            self.unsaid_count += 1
            return
        try:
            self.say_finished(run)
        except OSError:
            self.unsaid_count += 1

    def say_finished(self, run: FinishedRun) -> None:
        """Tell that a run is on record."""
        raise NotImplementedError

    def note(self, text: str) -> None:
        """Something that a person should know."""
        if not is_read(sys.stderr):
            self.unsaid_count += 1
            return
        try:
            say(clean_line(text))
        except OSError:
            self.unsaid_count += 1

    def age_s(self) -> float:
        """Seconds since we began to count."""
        return time.monotonic() - self.began_mono_s

    def tick(self) -> None:
        """A turn of the loop has ended."""

    def close(self) -> None:
        """Nothing more will be told."""


def line_of(run: FinishedRun) -> str:
    """One finished run as a line behind its status; the reason of a failure is a second one."""
    spec = run.spec
    line = f"  {spec.run_id}  {duration(run.duration_s):>6}  {spec.task_id}  {spec.pipeline.id}"
    if run.status == "succeeded":
        return clean_line(line)
    detail = clean_line(f"{line}  {run.detail or ''}").rstrip()
    return f"{detail}\n           {clean_line(run.reason)}" if run.reason else detail


class PlainReporter(Tally):
    """One line per finished run."""

    def say_finished(self, run: FinishedRun) -> None:
        """Print the line."""
        print(f"{run.status:<9}{line_of(run)}", flush=True)


class JsonReporter(Tally):
    """One JSON object per finished run."""

    def say_finished(self, run: FinishedRun) -> None:
        """Print the object."""
        facts: dict[str, Any] = {
            "run_id": run.spec.run_id,
            "task_id": run.spec.task_id,
            "pipeline_id": run.spec.pipeline.id,
            "status": run.status,
            "status_detail": run.detail,
            "reason": run.reason,
            "duration_s": run.duration_s,
            "manifest": run.manifest,
        }
        print_json("run-finished", facts)


class LiveReporter(Tally):
    """A line at the bottom of the terminal that is redrawn; finished runs scroll above it."""

    def __init__(self) -> None:
        super().__init__()
        from rich.console import Console
        from rich.live import Live

        self._console = Console()
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._live.start()
        self._drawn_mono_s = 0.0

    def tick(self) -> None:
        """Redraw, at most four times a second."""
        now = time.monotonic()
        if now - self._drawn_mono_s < 0.25:
            return
        self._drawn_mono_s = now
        try:
            self._live.update(self._line(now), refresh=True)
        except OSError:
            self.unsaid_count += 1

    def _line(self, now: float) -> str:
        waiting_count = max(0, self.queued_count - self.done_count - self.running_count)
        failed = f"[red]{self.failed_count} failed[/red]" if self.failed_count else "0 failed"
        return (
            f"[bold]{self.done_count}/{self.queued_count} done[/bold]  "
            f"{self.running_count} running  {waiting_count} queued  {failed}  "
            f"{duration(now - self.began_mono_s)}"
        )

    def say_finished(self, run: FinishedRun) -> None:
        """Print the line above the live one."""
        from rich.text import Text

        colour = {"succeeded": "green", "failed": "red"}.get(run.status, "yellow")
        line = Text(f"{run.status:<9}", style=colour)
        line.append(line_of(run), "")
        self._console.print(line, soft_wrap=True)

    def note(self, text: str) -> None:
        """Print a message above the live line."""
        try:
            self._console.print(clean_line(text), markup=False, style="yellow", soft_wrap=True)
        except OSError:
            self.unsaid_count += 1

    def close(self) -> None:
        """Take the live line away."""
        try:
            self._live.stop()
        except OSError:
            self.unsaid_count += 1

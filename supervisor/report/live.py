"""Drawing in place, by rich: what ``start`` shows below its lines, and ``status --watch``.

rich makes lines of colours for the terminal at hand. Where the cursor goes is done here, because
after a change of the terminal's size only who knows what was drawn can take it away again.
"""

import os
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType
from typing import IO, Final, TextIO, cast

from rich.console import Console
from rich.text import Text

from supervisor.core.outcome import FinishedRun
from supervisor.report.clean import clean_line
from supervisor.report.frame import picture
from supervisor.report.listing import Line
from supervisor.report.outlet import Outlet
from supervisor.report.progress import Tally, line_of
from supervisor.report.rows import Row
from supervisor.report.terminal import width
from supervisor.report.text import duration
from workers.records.clock import epoch_of
from workers.records.spec import RunSpec

DRAW_S: Final = 0.25  # a person does not read faster
_STYLES: Final = {
    "succeeded": "green",
    "failed": "red",
    "unreadable": "red",
    "cancelled": "yellow",
    "in_progress": "cyan",
    "running": "cyan",
    "queued": "dim",
    "head": "bold",
}
_HIDE, _SHOW = "\x1b[?25l", "\x1b[?25h"
_ENTER, _LEAVE = "\x1b[?1049h", "\x1b[?1049l"
_HOME, _REST_OF_LINE, _REST_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"


class Painter:
    """Turns clean lines into what a terminal understands; no colours where ``NO_COLOR`` is set."""

    def __init__(self) -> None:
        self._console = Console(force_terminal=True, highlight=False, markup=False, emoji=False)

    def paint(self, line: Line) -> str:
        """One line, without its end."""
        text = Text(line.text, _STYLES.get(line.status, "") if not line.shown else "")
        text.append(line.shown, _STYLES.get(line.status, ""))
        text.append(line.rest)
        with self._console.capture() as captured:
            self._console.print(text, end="", no_wrap=True, crop=False, overflow="ignore")
        return captured.get()


class Region:
    """Some lines at the bottom of a terminal that are drawn again and again.

    Args:
        outlet: the terminal; nothing here waits for it.
    """

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet
        self._painter = Painter()
        self._widths: list[int] = []

    def size(self) -> tuple[int, int]:
        """Columns and rows, as they are now."""
        return self._outlet.size()

    def draw(self, lines: list[Line]) -> None:
        """Put these lines in the place of those drawn before, in one write."""
        text = self._erasing() + "\n".join(self._painter.paint(line) for line in lines)
        self._widths = [width(str(line)) for line in lines]
        self._outlet.write(text)

    def print(self, line: Line) -> None:
        """Print a line that stays, above the region, which is drawn again with the next frame."""
        text = f"{self._erasing()}{self._painter.paint(line)}\n"
        self._widths = []
        self._outlet.write(text)

    def clear(self) -> None:
        """Take the region away."""
        if self._widths:
            self._outlet.write(self._erasing())
            self._widths = []

    def _erasing(self) -> str:
        """Back to where the region begins: terminals break lines anew when they become narrow."""
        if not self._widths:
            return ""
        columns = self._outlet.size()[0]
        rows = sum(max(1, -(-drawn // columns)) for drawn in self._widths)
        up = f"\x1b[{rows - 1}A" if rows > 1 else ""
        return f"\r{up}{_REST_OF_SCREEN}"


class LiveReporter(Tally):
    """What is under way, at the bottom of the terminal; finished runs scroll above it."""

    def __init__(self) -> None:
        super().__init__()
        self._region: Region | None = Region(self.results)
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

    def looked(self, rows: Iterable[Row]) -> None:
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
            picture(
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

    def say_finished(self, run: FinishedRun) -> None:
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
            self._print(Line("", clean_line(text), "", "cancelled"))
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


class Page:
    """A terminal's other screen, drawn whole each time: what was there before comes back.

    Args:
        stream: the terminal.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = cast("IO[str]", stream)
        self._painter = Painter()

    def size(self) -> tuple[int, int]:
        """Columns and rows, as they are now."""
        found = os.get_terminal_size(self._stream.fileno())
        return found.columns or 80, found.lines or 24

    def draw(self, lines: list[Line]) -> None:
        """Show these lines and nothing else."""
        painted = [f"{self._painter.paint(line)}{_REST_OF_LINE}" for line in lines]
        self._write(_HOME + "\r\n".join(painted) + _REST_OF_SCREEN)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the page within the block, and also after Ctrl-Z and ``fg``."""

        def pause(number: int, _frame: FrameType | None) -> None:
            self._write(_SHOW + _LEAVE)
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            signal.signal(number, pause)
            self._write(_ENTER + _HIDE)

        before = signal.signal(signal.SIGTSTP, pause)
        self._write(_ENTER + _HIDE)
        try:
            yield
        finally:
            signal.signal(signal.SIGTSTP, before)
            self._write(_SHOW + _LEAVE)

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()

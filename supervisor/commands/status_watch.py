"""``status --watch``: the same again and again, in place on a terminal, as lines elsewhere."""

import signal
import sys
import time
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Final

from supervisor.commands.poll import pause
from supervisor.report.read.run_rows import Row
from supervisor.report.terminal.live_display import AlternateScreen
from supervisor.report.terminal.run_table import Line, fit_lines, fit_table, status_counts
from supervisor.report.text.output import has_cursor, print_raw
from supervisor.report.text.sanitize import clean_line
from workers.records.dataclass import dataclass

LOOK_S: Final = 1.0  # as often as the supervisor itself looks
DRAW_S: Final = 0.25  # a terminal that is dragged wants an answer


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen.

    Attributes:
        head: the headlines: who serves the root, and what is held back there.
        rows: the runs, oldest first.
        lines: what is to be shown below the headline; empty for the runs as a table.
        troubles: what cannot be read; clean.
    """

    head: tuple[Line, ...]
    rows: tuple[Row, ...]
    lines: tuple[Line, ...] = ()
    troubles: tuple[str, ...] = ()

    @property
    def ended(self) -> bool:
        """Every run has its verdict, or cannot be told."""
        return all(row.status not in ("queued", "in_progress") for row in self.rows)

    def changes(self) -> tuple[object, ...]:
        """What makes this look another than the one before; the time alone does not."""
        return tuple((row.run_id, row.status, row.remark) for row in self.rows)


def watch(
    look: Callable[[], Look], report: Callable[[Look], None] | None, *, follows: bool
) -> Sequence[Row]:
    """Show runs until all have ended, or for ever.

    Args:
        look: looks.
        report: tells a look that differs from the one before; None: a terminal is drawn on, and
            elsewhere each run that differs is a line.
        follows: leave when every run shown has ended; else never.

    Returns:
        The runs as they were last.
    """
    if report is None and has_cursor(sys.stdout):
        return _on_page(look, follows=follows)
    known: tuple[object, ...] = ()
    while True:
        seen = look()
        changes = seen.changes()
        if report is not None and changes != known:
            report(seen)
        elif report is None:
            for row, change in zip(seen.rows, changes, strict=True):
                if change not in known:
                    print_raw(_plain(row))
        known = changes
        if follows and seen.ended:
            return seen.rows
        pause(LOOK_S)


def _plain(row: Row) -> str:
    about = f"  {row.run_id}  {row.task_id}  {row.pipeline_id}  {row.remark}"
    return clean_line(f"{row.status:<11}{about}").rstrip()


def _on_page(look: Callable[[], Look], *, follows: bool) -> Sequence[Row]:
    page = AlternateScreen(sys.stdout)
    signal.signal(signal.SIGTERM, _leave)
    with page.shown():
        while True:
            seen = look()
            until, drawn = time.monotonic() + LOOK_S, (0, 0)
            while time.monotonic() < until:
                if page.size() != drawn:
                    drawn = page.size()
                    page.draw(_fit(seen, *drawn))
                pause(DRAW_S)
            if follows and seen.ended:
                break
    if seen.lines:
        print_raw("\n".join(str(line) for line in seen.lines))
    return seen.rows


def _fit(seen: Look, columns: int, height: int) -> list[Line]:
    if seen.lines:
        return fit_lines((*seen.head, *seen.lines), columns=columns, height=height)
    above = [*seen.head, *(Line(text, status="failed") for text in seen.troubles)]
    counts = Line(status_counts(seen.rows))
    table = fit_table(counts, seen.rows, columns=columns, height=max(1, height - len(above)))
    return [*(line.cut_to(columns) for line in above), *table][:height]


def _leave(number: int, _frame: FrameType | None) -> None:
    """Ended by TERM: the terminal gets its other screen back on the way out."""
    raise SystemExit(128 + number)

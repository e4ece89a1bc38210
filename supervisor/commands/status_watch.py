"""``status --watch``: redraw a terminal, or print a line for each change."""

import signal
import sys
import time
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Final

from supervisor.commands.wait_notice import sleep_while_stdout_open
from supervisor.report.read.run_rows import Row
from supervisor.report.terminal.live_display import AlternateScreen
from supervisor.report.terminal.run_table import Line, fit_lines, fit_table, status_counts
from supervisor.report.text.output import has_cursor, print_raw
from supervisor.report.text.sanitize import clean_line
from workers.records.dataclass import dataclass

READ_S: Final = 1.0  # as often as the supervisor scans
DRAW_S: Final = 0.25  # for a terminal that is resized


@dataclass(frozen=True, slots=True)
class StatusSnapshot:
    """The state of a root at one moment.

    Attributes:
        head: the headlines: supervisor, pauses, groups.
        rows: the runs, oldest first.
        lines: the lines below the headlines; empty for the runs as a table.
        errors: records that cannot be read; clean text.
    """

    head: tuple[Line, ...]
    rows: tuple[Row, ...]
    lines: tuple[Line, ...] = ()
    errors: tuple[str, ...] = ()

    @property
    def ended(self) -> bool:
        """No run is queued or in progress."""
        return all(row.status not in ("queued", "in_progress") for row in self.rows)

    def changes(self) -> tuple[object, ...]:
        """The parts whose change is reported; a duration is not."""
        return tuple((row.run_id, row.status, row.remark) for row in self.rows)


def watch(
    read: Callable[[], StatusSnapshot],
    report: Callable[[StatusSnapshot], None] | None,
    *,
    follows: bool,
) -> Sequence[Row]:
    """Show runs until all have ended, or for ever.

    Args:
        read: reads a snapshot.
        report: prints a changed snapshot; None draws on a terminal, and elsewhere prints a line for
            each changed run.
        follows: return when every run has ended; otherwise never.

    Returns:
        The last rows.
    """
    if report is None and has_cursor(sys.stdout):
        return _on_screen(read, follows=follows)
    known: tuple[object, ...] = ()
    while True:
        snapshot = read()
        changes = snapshot.changes()
        if report is not None and changes != known:
            report(snapshot)
        elif report is None:
            for row, change in zip(snapshot.rows, changes, strict=True):
                if change not in known:
                    print_raw(_plain(row))
        known = changes
        if follows and snapshot.ended:
            return snapshot.rows
        sleep_while_stdout_open(READ_S)


def _plain(row: Row) -> str:
    about = f"  {row.run_id}  {row.task_id}  {row.pipeline_id}  {row.remark}"
    return clean_line(f"{row.status:<11}{about}").rstrip()


def _on_screen(read: Callable[[], StatusSnapshot], *, follows: bool) -> Sequence[Row]:
    page = AlternateScreen(sys.stdout)
    signal.signal(signal.SIGTERM, _exit)
    with page.shown():
        while True:
            snapshot = read()
            until, drawn = time.monotonic() + READ_S, (0, 0)
            while time.monotonic() < until:
                if page.size() != drawn:
                    drawn = page.size()
                    page.draw(_fit(snapshot, *drawn))
                sleep_while_stdout_open(DRAW_S)
            if follows and snapshot.ended:
                break
    if snapshot.lines:
        print_raw("\n".join(str(line) for line in snapshot.lines))
    return snapshot.rows


def _fit(snapshot: StatusSnapshot, columns: int, height: int) -> list[Line]:
    if snapshot.lines:
        return fit_lines((*snapshot.head, *snapshot.lines), columns=columns, height=height)
    above = [*snapshot.head, *(Line(text, status="failed") for text in snapshot.errors)]
    counts = Line(status_counts(snapshot.rows))
    table = fit_table(counts, snapshot.rows, columns=columns, height=max(1, height - len(above)))
    return [*(line.cut_to(columns) for line in above), *table][:height]


def _exit(number: int, _frame: FrameType | None) -> None:
    """Exit on TERM, so that the terminal's main screen is restored."""
    raise SystemExit(128 + number)

"""One picture for a terminal of some size: what fits of it, and a count of the rest."""

from collections.abc import Sequence
from typing import Final

from supervisor.report.read.run_rows import Row
from supervisor.report.terminal.run_table import Line, status_counts, table_lines

_ACTIVE: Final = ("in_progress", "queued", "unreadable")


def fit_table(
    head: Line, rows: Sequence[Row], *, columns: int, height: int, finished: bool = True
) -> list[Line]:
    """A headline and the runs that fit below it.

    Args:
        head: the headline.
        rows: the runs, oldest first.
        columns: how wide a line may be.
        height: how many lines there may be, at least 1.
        finished: show finished runs where the active ones leave room.

    Returns:
        At most ``height`` lines: those at work before those that wait, before the newest
        finished ones; where some do not fit, the last line counts them.
    """
    working = [row for row in rows if row.status in _ACTIVE and row.status != "queued"]
    waiting = [row for row in rows if row.status == "queued"]
    done = [row for row in rows if row.status not in _ACTIVE] if finished else []
    wanted = [*working, *waiting, *reversed(done)]
    if not wanted or height < 3:
        return [head.cut_to(columns)][:height]
    room = height - 2  # the headline, and the table's
    if len(wanted) > room:
        room = max(0, room - 1)
    shown, rest = wanted[:room], wanted[room:]
    lines = [head, *table_lines(shown, columns)] if shown else [head]
    if rest:
        lines.append(Line(f"... and more: {status_counts(rest)}"))
    return [line.cut_to(columns) for line in lines]


def fit_lines(lines: Sequence[Line], *, columns: int, height: int) -> list[Line]:
    """The first lines that fit, and a count of the rest."""
    shown = [line.cut_to(columns) for line in lines[:height]]
    if len(lines) > height:
        shown[-1] = Line(f"... and more: {len(lines) - height + 1} lines").cut_to(columns)
    return shown

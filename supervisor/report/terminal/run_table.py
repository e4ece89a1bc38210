"""Runs as a table that fits into a terminal."""

import os
from collections.abc import Sequence
from typing import Final

from supervisor.report.read.run_rows import Row
from supervisor.report.text.output import cut, duration, grid, paint, width
from workers.records.dataclass import dataclass

_HEAD: Final = ("RUN", "TASK", "PIPELINE", "STATUS", "TIME", "NOTE")
_HEAD_WITH_HOST: Final = ("RUN", "TASK", "PIPELINE", "HOST", "STATUS", "TIME", "NOTE")
_FIRM: Final = ("RUN", "STATUS", "TIME")
_ACTIVE: Final = ("in_progress", "queued", "unreadable")


@dataclass(frozen=True, slots=True)
class Line:
    """One clean line.

    Attributes:
        text: up to the status; the whole line if it has none.
        shown: the status, padded; empty to colour ``text`` instead.
        rest: what follows the status.
        status: selects the colour.
    """

    text: str
    shown: str = ""
    rest: str = ""
    status: str = ""

    def cut_to(self, limit: int) -> "Line":
        """The line in at most ``limit`` columns."""
        text = cut(self.text, limit)
        shown = cut(self.shown, max(0, limit - width(text)))
        rest = cut(self.rest, max(0, limit - width(text) - width(shown)))
        return Line(text, shown, rest, self.status)

    def painted(self, *, on: bool) -> str:
        """The line with its colour, if ``on`` is true."""
        if not self.shown:
            return paint(self.text, self.status, on=on) + self.rest
        return f"{self.text}{paint(self.shown, self.status, on=on)}{self.rest}".rstrip()

    def __str__(self) -> str:
        return f"{self.text}{self.shown}{self.rest}".rstrip()


def table_lines(rows: Sequence[Row], limit: int | None) -> list[Line]:
    """The lines of a table, its head first; with hosts if a run was on another host.

    Args:
        rows: the runs.
        limit: the width of a line in columns. If whole run ids do not fit, their last 8 digits
            are shown, then the widest cells are cut. None: no limit.
    """
    lines = _lines(rows, short=False, limit=None)
    if limit is not None and max(width(str(line)) for line in lines) > limit:
        return _lines(rows, short=True, limit=limit)
    return lines


def _lines(rows: Sequence[Row], *, short: bool, limit: int | None) -> list[Line]:
    local = os.uname().nodename
    is_remote = any(row.host not in (None, local) for row in rows)
    head = _HEAD_WITH_HOST if is_remote else _HEAD
    at = head.index("STATUS")
    cells = grid(
        head,
        [
            (
                row.run_id[-8:] if short else row.run_id,
                row.task_id,
                row.pipeline_id,
                *((row.host or "-",) if is_remote else ()),
                row.status,
                duration(row.duration_s),
                row.remark,
            )
            for row in rows
        ],
        limit=limit,
        firm=[head.index(name) for name in _FIRM],
    )
    statuses = ["", *(row.status for row in rows)]
    return [
        Line(
            "".join(f"{cell}  " for cell in line[:at]),
            line[at],
            "".join(f"  {cell}" for cell in line[at + 1 :]),
            status,
        )
        for line, status in zip(cells, statuses, strict=True)
    ]


def status_counts(rows: Sequence[Row]) -> str:
    """The number of runs per status, active ones first: ``4 running, 2 queued, 1 failed``."""
    order = ("in_progress", "queued", "failed", "cancelled", "succeeded")
    statuses = [row.status for row in rows]
    counts = [
        f"{count} {'running' if status == 'in_progress' else status}"
        for status in (*order, *sorted(set(statuses) - set(order)))
        if (count := statuses.count(status))
    ]
    return ", ".join(counts) or "no runs"


def fit_table(
    head: Line, rows: Sequence[Row], *, columns: int, height: int, finished: bool = True
) -> list[Line]:
    """A headline and the runs that fit below it: running, then queued, then finished ones.

    Args:
        head: the headline.
        rows: the runs, oldest first.
        columns: the width of a line.
        height: the number of lines, at least 1.
        finished: show the newest finished runs if the active ones leave room.

    Returns:
        At most ``height`` lines. If some runs do not fit, the last line counts them.
    """
    running = [row for row in rows if row.status in _ACTIVE and row.status != "queued"]
    queued = [row for row in rows if row.status == "queued"]
    ended = [row for row in rows if row.status not in _ACTIVE] if finished else []
    wanted = [*running, *queued, *reversed(ended)]
    if not wanted or height < 3:
        return [head.cut_to(columns)][:height]
    room = height - 2  # without the two headlines
    if len(wanted) > room:
        room = max(0, room - 1)
    shown, rest = wanted[:room], wanted[room:]
    lines = [head, *table_lines(shown, columns)] if shown else [head]
    if rest:
        lines.append(Line(f"... and more: {status_counts(rest)}"))
    return [line.cut_to(columns) for line in lines]


def fit_lines(lines: Sequence[Line], *, columns: int, height: int) -> list[Line]:
    """The first lines that fit; the last one counts the others."""
    shown = [line.cut_to(columns) for line in lines[:height]]
    if len(lines) > height:
        shown[-1] = Line(f"... and more: {len(lines) - height + 1} lines").cut_to(columns)
    return shown

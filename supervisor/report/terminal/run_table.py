"""Runs as lines of a table that fits: for ``status``, and for what is drawn again and again."""

import os
from collections.abc import Sequence
from typing import Final

from supervisor.report.read.run_rows import Row
from supervisor.report.text.columns import cut, paint, width
from supervisor.report.text.output import duration, grid
from workers.records.dataclass import dataclass

_HEAD: Final = ("RUN", "TASK", "PIPELINE", "STATUS", "TIME", "NOTE")
_HEAD_OF_HOSTS: Final = ("RUN", "TASK", "PIPELINE", "HOST", "STATUS", "TIME", "NOTE")
_FIRM: Final = ("RUN", "STATUS", "TIME")


@dataclass(frozen=True, slots=True)
class Line:
    """One clean line: what stands before a status, the status as it is shown, what follows.

    Attributes:
        text: the line up to the status; the whole line where it has none.
        shown: the status with its blanks.
        rest: what follows.
        status: the word that gives ``shown`` its colour.
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
        """The line, its status coloured where ``on`` is true."""
        return f"{self.text}{paint(self.shown, self.status, on=on)}{self.rest}".rstrip()

    def __str__(self) -> str:
        return f"{self.text}{self.shown}{self.rest}".rstrip()


def table_lines(rows: Sequence[Row], limit: int | None) -> list[Line]:
    """The table of some runs, its head first; with their hosts where one was on another than ours.

    Args:
        rows: the runs.
        limit: how wide a line may be; where the whole ids do not fit, their last 8 digits stand
            for them, and then the widest columns are cut. None: as it comes.
    """
    lines = _lines(rows, short=False, limit=None)
    if limit is not None and max(width(str(line)) for line in lines) > limit:
        return _lines(rows, short=True, limit=limit)
    return lines


def _lines(rows: Sequence[Row], *, short: bool, limit: int | None) -> list[Line]:
    here = os.uname().nodename
    far = any(row.host not in (None, here) for row in rows)
    head = _HEAD_OF_HOSTS if far else _HEAD
    at = head.index("STATUS")
    cells = grid(
        head,
        [
            (
                row.run_id[-8:] if short else row.run_id,
                row.task_id,
                row.pipeline_id,
                *((row.host or "-",) if far else ()),
                row.status,
                duration(row.duration_s),
                row.remark,
            )
            for row in rows
        ],
        limit=limit,
        firm=[head.index(word) for word in _FIRM],
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
    """How many of some runs are how, the active ones first: ``4 running, 2 queued, 1 failed``."""
    words = {"in_progress": "running"}
    order = ("in_progress", "queued", "failed", "cancelled", "succeeded")
    found = [row.status for row in rows]
    known = [*order, *sorted(set(found) - set(order))]
    told = [f"{n} {words.get(word, word)}" for word in known if (n := found.count(word))]
    return ", ".join(told) or "no runs"

"""Plain words and tables for people; JSON for programs. No dependency, so that reading is quick."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from supervisor.report.text.columns import cut, pad, width
from supervisor.report.text.sanitize import bounded, clean, clean_line
from supervisor.report.text.std_streams import discard, is_missing
from workers.records.utf8 import to_json

_LEAST_WIDTH: Final = 6  # of a column that is cut


def duration(seconds: float | None) -> str:
    """A duration as people say it: 0.42s, 12.3s, 4m 05s, 2h 03m, 3d 04h."""
    if seconds is None:
        return "-"
    if seconds < 9.995:
        return f"{seconds:.2f}s"
    if seconds < 59.95:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}m {rest:02d}s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours}h {minutes:02d}m"
    return f"{hours // 24}d {hours % 24:02d}h"


def amounts(found: Mapping[str, object]) -> str:
    """What is taken of a host, as it is written down: ``slot=1, gpu=0.5``."""
    return ", ".join(f"{name}={value}" for name, value in found.items())


def grid(
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    limit: int | None = None,
    firm: Sequence[int] = (),
) -> list[list[str]]:
    """Cells of aligned columns that stand two blanks apart; foreign text is cleaned.

    Args:
        head: the columns' names.
        rows: their cells.
        limit: how wide the whole may be; the widest cells are cut for it. None: as it comes.
        firm: the columns that are never cut.
    """
    lines = [list(head), *([clean_line(cell) for cell in row] for row in rows)]
    widths = [max(width(line[i]) for line in lines) for i in range(len(head))]
    least = [w if i in firm else min(w, _LEAST_WIDTH) for i, w in enumerate(widths)]
    while limit is not None and sum(widths) + 2 * len(widths) - 2 > limit and widths != least:
        widest = max(range(len(widths)), key=lambda i: widths[i] - least[i])
        widths[widest] -= 1
    return [[pad(cut(c, w), w) for c, w in zip(line, widths, strict=True)] for line in lines]


def size(count_bytes: int) -> str:
    """A number of bytes as people say it: 812 B, 3.1 KiB, 12 MiB; 1 KiB is 1024 bytes."""
    value = float(count_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 10 else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Aligned columns, two spaces apart; foreign text is cleaned."""
    return "\n".join("  ".join(cells).rstrip() for cells in grid(head, rows))


def json_line(schema: str, facts: dict[str, Any]) -> str:
    """One JSON object with its schema's name, as a line."""
    return to_json({"schema": f"pipeline-supervisor/{schema}/1", **facts}, json.dumps) + "\n"


def print_json(schema: str, facts: dict[str, Any]) -> None:
    """Print one JSON object with its schema's name, on one line."""
    sys.stdout.write(json_line(schema, facts))
    sys.stdout.flush()


def print_raw(text: str) -> None:
    """Print a result that is made of clean parts and colours of ours."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def print_line(text: str) -> None:
    """Print a result for people on stdout; foreign text in it is cleaned."""
    sys.stdout.write(f"{clean(text)}\n")
    sys.stdout.flush()


def print_accepted(line: str, run_id: str) -> None:
    """Print the result of a verb whose run is accepted, whatever becomes of stdout.

    Args:
        line: the result, with its newline.
        run_id: the accepted run; stderr names it if stdout does not take the line.
    """
    why: str | None = "closed"
    if not is_missing(sys.stdout):
        try:
            sys.stdout.write(line)
            sys.stdout.flush()
            why = None
        except OSError as error:
            discard(sys.stdout)
            why = error.strerror
    if why is not None:
        print_error(f"cannot write to stdout ({why}); the run is accepted, its id is {run_id}")


def print_error(text: str) -> None:
    """Tell a person something on stderr; foreign text in it is cleaned."""
    sys.stderr.write(f"supervisor: {bounded(clean(text))}\n")
    sys.stderr.flush()

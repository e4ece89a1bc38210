"""Text for people (durations, tables, colours), JSON for programs, and how both are printed.

Colours are for terminals only, and never if ``NO_COLOR`` is set or ``TERM`` is ``dumb``. Everything
that is drawn is ASCII, so that it works in every locale.
"""

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TextIO

from supervisor.report.text.sanitize import bounded, clean, clean_line
from supervisor.report.text.std_streams import discard, is_missing
from workers.records.json_text import to_json

DEFAULT_COLUMNS: Final = 80
ELLIPSIS: Final = "..."
_COLOURS: Final = {  # SGR codes, by status
    "succeeded": "32",
    "failed": "31",
    "unreadable": "31",
    "cancelled": "33",
    "in_progress": "36",
    "running": "36",
    "queued": "2",
    "pending": "2",
    "head": "1",
}
_LEAST_WIDTH: Final = 6  # of a column that is cut


def terminal_columns(stream: TextIO) -> int | None:
    """The width of a terminal: ``COLUMNS`` if set, else its own; None for any other stream."""
    if not stream.isatty():
        return None
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns):
        return int(columns)
    try:
        return os.get_terminal_size(stream.fileno()).columns or DEFAULT_COLUMNS
    except OSError:
        return DEFAULT_COLUMNS


def has_cursor(stream: TextIO) -> bool:
    """Check whether a stream is a terminal whose cursor can be moved."""
    return stream.isatty() and os.environ.get("TERM", "") not in ("", "dumb")


def wants_colours(stream: TextIO) -> bool:
    """Check whether text on a stream should be coloured."""
    return has_cursor(stream) and not os.environ.get("NO_COLOR")


def paint(text: str, status: str, *, on: bool) -> str:
    """Colour a text by its status; unchanged if ``on`` is false or the status has no colour."""
    code = _COLOURS.get(status)
    return f"\x1b[{code}m{text}\x1b[0m" if on and code and text else text


def width(text: str) -> int:
    """The number of terminal columns of a clean text."""
    if text.isascii():
        return len(text)
    import unicodedata

    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def cut(text: str, limit: int) -> str:
    """A clean text in at most ``limit`` columns; a longer one ends in an ellipsis."""
    if width(text) <= limit:
        return text
    while text and width(text) + len(ELLIPSIS) > limit:
        text = text[:-1]
    return f"{text}{ELLIPSIS}"[: max(0, limit)]


def pad(text: str, columns: int) -> str:
    """A clean text, filled with blanks up to a width."""
    return text + " " * (columns - width(text))


def duration(seconds: float | None) -> str:
    """A duration for people: 0.42s, 12.3s, 4m 05s, 2h 03m, 3d 04h; "-" for None."""
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


def size(count_bytes: int) -> str:
    """A number of bytes for people: 812 B, 3.1 KiB, 12 MiB; 1 KiB is 1,024 bytes."""
    value = float(count_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 10 else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def amounts(resources: Mapping[str, object]) -> str:
    """Resources of a host as they are configured: ``slot=1, gpu=0.5``."""
    return ", ".join(f"{name}={value}" for name, value in resources.items())


def grid(
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    limit: int | None = None,
    firm: Sequence[int] = (),
) -> list[list[str]]:
    """The cells of a table, cleaned and padded to the width of their column.

    Args:
        head: the columns' names.
        rows: their cells; foreign text.
        limit: the table's width in columns, with two blanks between cells; the widest cells are
            cut to fit. None: no limit.
        firm: the columns that are never cut.
    """
    lines = [list(head), *([clean_line(cell) for cell in row] for row in rows)]
    widths = [max(width(line[i]) for line in lines) for i in range(len(head))]
    least = [w if i in firm else min(w, _LEAST_WIDTH) for i, w in enumerate(widths)]
    while limit is not None and sum(widths) + 2 * len(widths) - 2 > limit and widths != least:
        widest = max(range(len(widths)), key=lambda i: widths[i] - least[i])
        widths[widest] -= 1
    return [[pad(cut(c, w), w) for c, w in zip(line, widths, strict=True)] for line in lines]


def table(
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    limit: int | None = None,
    firm: Sequence[int] = (),
) -> str:
    """The lines of a table; arguments as ``grid``."""
    cells = grid(head, rows, limit=limit, firm=firm)
    return "\n".join("  ".join(line).rstrip() for line in cells)


def json_line(schema: str, facts: dict[str, Any]) -> str:
    """One JSON object with its schema's name, as a line."""
    return to_json({"schema": f"pipeline-supervisor/{schema}/1", **facts}, json.dumps) + "\n"


def _print(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def print_json(schema: str, facts: dict[str, Any]) -> None:
    """Print one JSON object with its schema's name, on one line."""
    _print(json_line(schema, facts))


def print_raw(text: str) -> None:
    """Print a result that consists of clean text and our own colours."""
    _print(f"{text}\n")


def print_line(text: str) -> None:
    """Print a result for people on stdout; foreign text in it is cleaned."""
    _print(f"{clean(text)}\n")


def print_accepted(line: str, run_id: str) -> None:
    """Print the result of a verb whose run is accepted, even if stdout fails.

    Args:
        line: the result, with its newline.
        run_id: the accepted run; it is printed on stderr if stdout does not take the line.
    """
    reason: str | None = "closed"
    if not is_missing(sys.stdout):
        try:
            _print(line)
        except OSError as error:
            discard(sys.stdout)
            reason = error.strerror
        else:
            return
    print_error(f"cannot write to stdout ({reason}); the run is accepted, its id is {run_id}")


def print_error(text: str) -> None:
    """Print a message for people on stderr; foreign text in it is cleaned."""
    sys.stderr.write(f"supervisor: {bounded(clean(text))}\n")
    sys.stderr.flush()

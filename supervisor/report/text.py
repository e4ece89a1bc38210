"""Plain words and tables for people; JSON for programs. No dependency, so that reading is quick."""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from supervisor.report.clean import clean, clean_line


def duration(seconds: float | None) -> str:
    """A duration as people say it: 0.42s, 12.3s, 4m05s, 2h03m."""
    if seconds is None:
        return "-"
    if seconds < 10:
        return f"{seconds:.2f}s"
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{rest:02d}s"
    return f"{minutes // 60}h{minutes % 60:02d}m"


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
    lines = [list(head), *([clean_line(cell) for cell in row] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def json_line(schema: str, facts: dict[str, Any]) -> str:
    """One JSON object with its schema's name, as a line."""
    return json.dumps({"schema": f"pipeline-supervisor/{schema}/1", **facts}) + "\n"


def print_json(schema: str, facts: dict[str, Any]) -> None:
    """Print one JSON object with its schema's name, on one line."""
    sys.stdout.write(json_line(schema, facts))
    sys.stdout.flush()


def tell(text: str) -> None:
    """Print a result for people on stdout; foreign text in it is cleaned."""
    sys.stdout.write(f"{clean(text)}\n")
    sys.stdout.flush()


def say(text: str) -> None:
    """Tell a person something on stderr; foreign text in it is cleaned."""
    sys.stderr.write(f"supervisor: {clean(text)}\n")
    sys.stderr.flush()

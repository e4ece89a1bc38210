"""The rows as tables, and the machine they were measured on."""

import datetime
import os
import platform
import shutil
import subprocess
from collections.abc import Sequence

from rich.table import Table

from benches.row import Row

HEADS = ("what", "ours", "peer", "ratio or value", "spread", "goal", "met")
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def machine() -> dict[str, str]:
    """Facts about the machine and the commit."""
    git = shutil.which("git")
    argv = ["describe", "--always", "--dirty", "--exclude=*"]
    commit = ""
    if git is not None:  # without a checkout there is no commit
        done = subprocess.run([git, *argv], capture_output=True, text=True, cwd=ROOT)
        commit = done.stdout.strip()
    return {
        "commit": commit or "unknown",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "cores": str(os.cpu_count()),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def cells(row: Row) -> tuple[str, ...]:
    """One row, in the order of HEADS."""
    goal = "" if row.goal is None else f"{row.goal:g}"
    if row.skipped:
        return (row.name, "", row.peer, "", "", goal, f"skipped: {row.skipped}")
    theirs = f"{figure(row.theirs)} {row.unit} ({row.peer})" if row.peer else ""
    met = {None: "", True: "met", False: "NOT MET"}[row.is_met]
    spread = f"{figure(row.low)} - {figure(row.high)}"
    ours = f"{figure(row.ours)} {row.unit}".strip()
    return (row.name, ours, theirs, figure(row.value), spread, goal, met)


def figure(value: float) -> str:
    """Three significant digits, without exponent."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def for_terminal(found: Sequence[Row]) -> Table:
    """All rows as a table for a terminal."""
    made = Table(*HEADS, box=None)
    for row in found:
        made.add_row(*cells(row))
    return made


def for_page(found: Sequence[Row]) -> str:
    """All rows as a Markdown table."""
    lines = [HEADS, ("---",) * len(HEADS), *(cells(row) for row in found)]
    return "".join("| " + " | ".join(argv).replace("|  |", "| |") + " |\n" for argv in lines)

"""``python -m benches [GROUP ...] [--rounds N] [--json]``: every target, ours, the peer, the ratio.

Exit code 0 whatever the figures say: a bench reports. The groups are runs, startup, live, live1000,
capture and history.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.table import Table

from benches import capture, history, live, runs, startup
from benches.row import Row

GROUPS: dict[str, Callable[[int], Iterator[Row]]] = {
    "runs": runs.rows,
    "startup": startup.rows,
    "live": lambda _: live.rows(50),
    "live1000": lambda _: live.rows(1000),
    "capture": capture.rows,
    "history": history.rows,
}


def machine() -> dict[str, str]:
    """What the figures hold for."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    return {
        "commit": commit.stdout.strip() or "unknown",
        "cores": str(os.cpu_count()),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def table(found: list[Row]) -> Table:
    """The rows for people."""
    made = Table(*("what", "ours", "peer", "ratio or value", "spread", "goal", "met"), box=None)
    for row in found:
        if row.skipped:
            made.add_row(row.name, "", row.peer, "", "", "", f"skipped: {row.skipped}")
            continue
        theirs = f"{row.theirs:.3g} {row.unit} ({row.peer})" if row.peer else ""
        met = {None: "", True: "met", False: "NOT MET"}[row.is_met]
        goal = "" if row.goal is None else f"{row.goal:g}"
        spread = f"{row.low:.2f} - {row.high:.2f}"
        ours = f"{row.ours:.3g} {row.unit}"
        made.add_row(row.name, ours, theirs, f"{row.value:.2f}", spread, goal, met)
    return made


def main(argv: list[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benches", description=__doc__)
    parser.add_argument("groups", nargs="*", metavar="GROUP", help="default: all of them")
    parser.add_argument("--rounds", type=int, default=3, help="of each pair (default 3)")
    parser.add_argument("--json", action="store_true", help="one object on stdout")
    given = parser.parse_args(argv)
    unknown = set(given.groups) - set(GROUPS)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(GROUPS)}")
    console = Console(stderr=given.json, width=150)
    found: list[Row] = []
    for name in given.groups or GROUPS:
        for row in GROUPS[name](given.rounds):
            found.append(row)
            console.print(table([row]))
    if given.json:
        facts = {"schema": "pipeline-supervisor/benches/1", "machine": machine()}
        print(json.dumps({**facts, "rows": [row.to_json() for row in found]}, indent=2))
    else:
        console.rule(" ".join(f"{key} {value}" for key, value in machine().items()))
        console.print(table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

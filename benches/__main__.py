"""``python -m benches [GROUP ...]``: every figure, ours, the peer's, their ratio and the goal.

A peer is another program that is measured the same way. ``python -m benches peers`` installs the
peers; rows of missing peers are skipped by name. ``python -m benches report FILE ...`` writes
docs/explanation/performance.md and its pictures from the output of ``--json``. The exit code is 0
whatever the figures are, and 1 if something could not be measured although nothing is missing.
"""

import argparse
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

from rich.console import Console

from benches import (
    adopt,
    capture,
    curves,
    ends,
    first,
    history,
    live,
    parts,
    peers,
    report,
    runs,
    startup,
    steady,
)
from benches.row import Point, Row
from benches.table import cells, for_terminal, machine

GROUPS: dict[str, Callable[[int], Iterator[Row | Point]]] = {
    "runs": runs.rows,
    "parts": parts.rows,
    "first": first.rows,
    "startup": startup.rows,
    "live": lambda _: live.rows(50),
    "live1000": lambda _: live.rows(1000),
    "ends": ends.rows,
    "history": history.rows,
    "adopt": adopt.rows,
    "capture": capture.rows,
    "curves": curves.points,
    "steady": steady.rows,
    "busy": steady.busy_rows,
}


def main(argv: list[str]) -> int:
    """Measure the groups and print the rows."""
    parser = argparse.ArgumentParser(
        prog="python -m benches",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = f"default: all of {', '.join(GROUPS)}"
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=what)
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each pair (default: 5)")
    parser.add_argument("--json", action="store_true", help="print one object")
    if argv[:1] == ["report"]:
        report.write(argv[1:])
        return 0
    if argv == ["peers"]:
        failed = peers.install()
        print("\n".join(failed) or f"installed in {peers.home()}", file=sys.stderr)
        return 1 if failed else 0
    given = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that processes are cleaned up
    unknown = set(given.groups) - set(GROUPS)
    if unknown or given.rounds < 1:
        parser.error(f"groups are {', '.join(GROUPS)}; --rounds must be at least 1")
    facts = machine()
    found, failures = measure(given.groups or list(GROUPS), given.rounds)
    if given.json:
        print(json.dumps(report.record(facts, found), indent=1))
    else:
        console = Console(width=160)
        console.rule(" ".join(f"{key} {value}" for key, value in facts.items()))
        console.print(for_terminal([row for row in found if isinstance(row, Row)]))
    for failure in failures:
        print(failure, file=sys.stderr)
    return 1 if failures else 0


def measure(groups: list[str], rounds_count: int) -> tuple[list[Row | Point], list[str]]:
    """All rows and points of the groups, and the failures; prints progress on stderr."""
    found: list[Row | Point] = []
    failures = []
    for name in groups:
        try:
            for one in GROUPS[name](rounds_count):
                found.append(one)
                texts = cells(one) if isinstance(one, Row) else (str(one),)
                print("  ".join(word for word in texts if word), file=sys.stderr, flush=True)
        except (
            RuntimeError,
            OSError,
            subprocess.SubprocessError,
        ) as error:  # the other groups are still measured
            failures.append(f"{name} failed: {error}")
            print(failures[-1], file=sys.stderr, flush=True)
        except KeyboardInterrupt:  # INT or TERM: report the rows so far
            failures.append(f"interrupted in {name}")
            break
    return found, failures


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

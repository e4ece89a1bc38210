"""A start over 100,000 finished runs that adopts 1,000 live ones."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

from benches.history import LONG, old_run, prepare
from benches.live import alive
from benches.measure import until
from benches.place import SUPERVISOR, directory
from benches.process_stats import peak_bytes
from benches.row import Row, plain_row, worst_row

LIVE_COUNT = 1000
LINKS_COUNT = 10_000  # ext4 allows at most 65,000 links to a file


def rows(rounds_count: int) -> Iterator[Row]:
    """Kill the supervisor and start it again while its runs continue."""
    walls, peaks = [], []
    with directory() as root:
        prepare(root, LONG)
        write_directories(root, LONG)
        with alive(root, LIVE_COUNT) as live:
            process = live.process
            for _ in range(rounds_count):
                process.kill()
                process.wait()
                began = time.monotonic()
                process = live.tree.start([*SUPERVISOR, "start", "--root", str(root)], root)
                _wait_for_adoption(root, process.pid)
                walls.append(time.monotonic() - began)
                peaks.append(peak_bytes(process.pid) / 1e6)
    name = f"start over {LONG:,} finished and {LIVE_COUNT:,} live runs"
    yield plain_row(name, "s", walls, 5.0)
    yield worst_row(f"{name}, memory of the supervisor", "MB", peaks, 150.0)


def _wait_for_adoption(root: Path, pid: int) -> None:
    until(lambda: _adopted_count(root, pid) == LIVE_COUNT, "a start that adopts all")


def _adopted_count(root: Path, pid: int) -> int:
    """The number of runs that a supervisor reports as adopted."""
    try:
        view = json.loads((root / ".runs/.supervisor/status.json").read_text())
    except FileNotFoundError:
        return 0
    if view["supervisor"]["pid"] != pid:
        return 0
    return sum(run["pid"] is not None and run["state"] == "running" for run in view["runs"])


def write_directories(root: Path, count: int) -> None:
    """Write a directory with a manifest for each finished run of the prepared history."""
    runs = root / ".runs/default/cli"
    text = next(runs.glob("*/manifest.json")).read_text()
    source = root / "source"
    for number in range(count):
        if number % LINKS_COUNT == 0:
            source = root / f"source-{number}"
            source.write_text(text)
        path = runs / old_run(number)
        path.mkdir()
        os.link(source, path / "manifest.json")

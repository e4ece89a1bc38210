"""Fifty runs of one task that end at the same instant: time until the snapshot has each."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

from benches.history import LONG, SHORT, prepare
from benches.measure import Figures, until
from benches.place import directory, start, write_batch
from benches.programs import program, stamps
from benches.row import Row, plain_row, ratio_row, worst_row
from benches.skip import skipping
from benches.tree import tree

COUNT = 50
ROUNDS_COUNT = 20


def rows(rounds_count: int) -> Iterator[Row]:
    """Twenty rounds, alternating between a task with a long and one with a short history."""
    name = f"{COUNT} ending at once"
    with skipping(f"{name}: snapshots missed", goal=0.0) as found:
        stamp = str(program("stamp"))
        waits: dict[int, list[float]] = {LONG: [], SHORT: []}
        missed = []
        with directory() as long, directory() as short:
            prepare(long, LONG)
            prepare(short, SHORT)
            for _ in range(max(ROUNDS_COUNT, rounds_count)):
                for root, size in ((long, LONG), (short, SHORT)):
                    wait_ms, missed_count = _round(root, stamp)
                    waits[size].append(wait_ms)
                    missed.append(missed_count)
        found.append(worst_row(f"{name}: snapshots missed", "", missed, 0.0))
        slowest = f"{name}: slowest wait for the snapshot, history"
        for size, values in waits.items():
            found.append(plain_row(f"{slowest} {size:,}, median of rounds", "ms", values, 250.0))
            found.append(worst_row(f"{slowest} {size:,}, worst", "ms", values))
        figures = Figures(ours=tuple(waits[LONG]), peer=tuple(waits[SHORT]))
        grown = f"{slowest} {LONG:,}"
        found.append(ratio_row(grown, f"history {SHORT}", "ms", figures, 2.0))
    yield from found


def _round(root: Path, stamp: str) -> tuple[float, int]:
    """The slowest wait in ms, and the number of runs that the state lacks."""
    marks, gate, state = root / "stamps", root / "gate", root / "out/default/state.json"
    marks.unlink(missing_ok=True)
    gate.unlink(missing_ok=True)
    os.mkfifo(gate)
    write_batch(root, COUNT, [stamp, str(marks), str(gate)])
    seen: dict[str, float] = {}
    with tree() as mine:
        process = mine.start(start(root, "--again"), root)
        until(lambda: marks.exists() and marks.read_text().count("\n") >= COUNT, "fifty runs")
        time.sleep(0.2)  # all runs have reached the gate and started completely
        known = _runs(state)
        os.close(os.open(gate, os.O_WRONLY))
        last = None
        while process.poll() is None or last is not None:
            found = os.stat(state)
            if (found.st_ino, found.st_mtime_ns) != last:
                last = (found.st_ino, found.st_mtime_ns)
                now = time.monotonic()
                seen |= dict.fromkeys(_runs(state) - known - seen.keys(), now)
            elif process.returncode is not None:
                break
            time.sleep(0.001)
        mine.settle()
    ended = stamps(marks)
    if len(ended) != COUNT or process.returncode:
        raise RuntimeError(f"{len(ended)} of {COUNT} runs ended, exit code {process.returncode}")
    slowest = max(seen[run_id] - ended[run_id] for run_id in ended if run_id in seen)
    return slowest * 1000, len(ended.keys() - seen.keys())


def _runs(state: Path) -> set[str]:
    return {line["runId"] for line in json.loads(state.read_text())["runs"]}

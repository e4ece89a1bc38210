"""1,000 live runs for ten minutes, and fifty busy ones: heartbeats, resources, CPU."""

import statistics
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from benches.live import QUIET_COMMAND, Live, alive
from benches.place import directory
from benches.process_stats import cpu_s, descriptors_count, pss_bytes
from benches.row import Row, plain_row, worst_row

BEAT_S = 5.0
LOOK_S = 30.0
COUNT, BUSY_COUNT = 1000, 50
SECONDS, BUSY_SECONDS = 600.0, 60.0
BUSY_COMMAND = ("sh", "-c", "while :; do :; done")


def rows(_rounds: int) -> Iterator[Row]:
    """One measurement, whatever the number of rounds."""
    yield from _steady(COUNT, SECONDS, "quiet", QUIET_COMMAND)


def busy_rows(_rounds: int) -> Iterator[Row]:
    """One measurement, whatever the number of rounds."""
    yield from _steady(BUSY_COUNT, BUSY_SECONDS, "busy", BUSY_COMMAND)


def _steady(count: int, seconds: float, kind: str, command: tuple[str, ...]) -> Iterator[Row]:
    what = f"{count:,} {kind} runs for {seconds:g} s"
    with directory() as root:
        with alive(root, count, command) as live:
            time.sleep(10.0)  # all runs have started
            looks, shares, whole = _watch(live, seconds)
            gaps = _gaps(root)
        recorded = (root / "out/default/history.ndjson").read_text().count("\n")
    missed = sum(max(0, round(gap / BEAT_S) - 1) for gap in gaps)
    yield plain_row(f"{what}: beats missed", "", [missed], 0.0)
    yield worst_row(f"{what}: longest time between two beats", "s", [max(gaps)])
    yield plain_row(f"{what}: runs not recorded when stopped", "", [count - recorded], 0.0)
    if kind == "busy":
        return
    yield from growth(what, looks)
    yield plain_row(f"{what}: supervisor's CPU", "% of a core", shares, 0.5)
    yield plain_row(f"{what}: CPU of all", "% of a core", [whole], 2.5)


def growth(what: str, looks: Sequence[tuple[int, int]]) -> Iterator[Row]:
    """Growth of descriptors and memory from the first half of the samples to the second.

    A descriptor that is open for a moment is no growth, so the minimum of each half counts.
    """
    half = len(looks) // 2
    fewest = [min(count for count, _ in part) for part in (looks[:half], looks[half:])]
    memory = [tuple(size / 1e6 for _, size in part) for part in (looks[:half], looks[half:])]
    early = statistics.median(memory[0])
    yield plain_row(f"{what}: growth of descriptors", "", [fewest[1] - fewest[0]], 0.0)
    yield Row(
        name=f"{what}: growth of the supervisor's memory",
        peer="earlier half",
        unit="MB",
        ours=statistics.median(memory[1]),
        theirs=early,
        value=statistics.median(memory[1]) / early,
        low=min(memory[1]) / early,
        high=max(memory[1]) / early,
        goal=1.02,
    )


def _watch(live: Live, seconds: float) -> tuple[list[tuple[int, int]], list[float], float]:
    """Sample descriptors, memory and CPU of the supervisor, and the CPU of all processes."""
    looks, shares = [], []
    ours = live.ours()
    began, all_s = time.monotonic(), sum(map(cpu_s, ours))
    while time.monotonic() < began + seconds:
        looks.append((descriptors_count(live.pid), pss_bytes([live.pid])))
        before, at = cpu_s(live.pid), time.monotonic()
        time.sleep(LOOK_S)
        shares.append((cpu_s(live.pid) - before) / (time.monotonic() - at) * 100)
    looks.append((descriptors_count(live.pid), pss_bytes([live.pid])))
    passed = time.monotonic() - began
    return looks, shares, (sum(map(cpu_s, ours)) - all_s) / passed * 100


def _gaps(root: Path) -> list[float]:
    """The seconds between consecutive heartbeats of all runs."""
    found = []
    for path in root.glob(".runs/*/cli/*/.heartbeat"):
        beats = [datetime.fromisoformat(line) for line in path.read_text().split()]
        pairs = pairwise(beats)
        found += [(after - before).total_seconds() for before, after in pairs]
    return found

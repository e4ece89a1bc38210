"""What live runs cost while nothing happens: memory of the whole tree, and CPU."""

import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benches.place import SUPERVISOR, directory, start, write_batch
from benches.row import Row, plain_row

QUIET_S = 20.0
READY_S = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Figures of one look: bytes of memory, seconds of CPU of supervisor and of all of us."""

    pss_bytes: int
    boss_s: float
    tree_s: float


def rows(count: int, *, quiet_s: float = QUIET_S) -> Iterator[Row]:
    """Keep ``count`` runs alive and look at them; goals are those of 50 and of 1,000."""
    few = count <= 50
    with directory() as root:
        write_batch(root, count, '["sleep", "600"]')
        process = subprocess.Popen(
            start(root, "--max-runs", str(count)), cwd=root, stdout=subprocess.DEVNULL
        )
        try:
            _wait_for_beats(root, count)
            before, began = _look(process.pid), time.monotonic()
            time.sleep(quiet_s)  # the measured quiet itself
            after, seconds = _look(process.pid), time.monotonic() - began
        finally:
            subprocess.run(
                [*SUPERVISOR, "stop", "--root", str(root)],
                cwd=root,
                capture_output=True,
            )
            process.wait()
    memory = after.pss_bytes / count / 1e6
    boss = (after.boss_s - before.boss_s) / seconds * 100
    tree = (after.tree_s - before.tree_s) / seconds * 100
    yield plain_row(f"PSS per run, {count:,} live", "MB", [memory], 2.0 if few else 1.5)
    yield plain_row(f"supervisor's CPU, {count:,} live", "% of a core", [boss], 0.1 if few else 0.5)
    yield plain_row(f"CPU of all, {count:,} live", "% of a core", [tree], 0.3 if few else 2.5)


def _wait_for_beats(root: Path, count: int) -> None:
    until = time.monotonic() + READY_S
    while len(list(root.glob(".runs/default/cli/*/.heartbeat"))) < count:
        if time.monotonic() > until:
            raise RuntimeError(f"{count} runs were not alive within {READY_S:g} s")
        time.sleep(0.05)
    time.sleep(2.0)  # the burst of starting is over


def _look(boss_pid: int) -> Seen:
    waiting, pss, tree = [boss_pid], 0, 0.0
    for pid in waiting:
        waiting += _children(pid)
        if b"sleep" in Path(f"/proc/{pid}/comm").read_bytes():
            continue  # the stage is not ours
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        pss += int(rollup.partition("\nPss:")[2].split()[0]) * 1024
        tree += _cpu_s(pid)
    return Seen(pss_bytes=pss, boss_s=_cpu_s(boss_pid), tree_s=tree)


def _cpu_s(pid: int) -> float:
    """By nanoseconds where the kernel has them; ticks of 10 ms are too coarse for the quiet."""
    total = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        total += int(Path(f"/proc/{pid}/task/{thread}/schedstat").read_text().split()[0])
    return total / 1e9


def _children(pid: int) -> list[int]:
    found = []
    for thread in os.listdir(f"/proc/{pid}/task"):
        found += [
            int(word) for word in Path(f"/proc/{pid}/task/{thread}/children").read_text().split()
        ]
    return found

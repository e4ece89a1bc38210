"""Cost of idle live runs, and the time from the death of a worker to its verdict."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benches.measure import until
from benches.place import SUPERVISOR, directory, start, write_batch
from benches.process_stats import cpu_s, pss_bytes, worker_of
from benches.row import Row, plain_row, worst_row
from benches.tree import Tree, descendants, tree

SETTLE_S = 45.0  # each run has its first manifest for a heartbeat, which costs more than later ones
QUIET_S = 30.0
QUIET_COMMAND = ("sleep", "1800")
VICTIMS_COUNT = 20
STOP_S = 300.0
SPARE_COUNT = 10  # for further submitted runs


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """A root with a supervisor and ``count`` runs of a long command.

    Attributes:
        root: the directory.
        process: the supervisor.
        tree: all its processes.
    """

    root: Path
    process: "subprocess.Popen[bytes]"
    tree: Tree

    @property
    def pid(self) -> int:
        """The pid of the supervisor."""
        return self.process.pid

    def ours(self) -> list[int]:
        """Our own processes, without the stages."""
        zygotes = descendants(self.pid)[:1]
        below = [pid for zygote in zygotes for pid in descendants(zygote)]
        return [self.pid, *zygotes, *(pid for pid in below if worker_of(pid))]


@contextmanager
def alive(root: Path, count: int, command: Sequence[str] | str = QUIET_COMMAND) -> Iterator[Live]:
    """Keep ``count`` runs alive, and stop them at the end."""
    write_batch(root, count, command)
    with tree() as mine:
        process = mine.start(start(root, "--max-runs", str(count + SPARE_COUNT)), root)
        beats = f"{count} runs alive"
        until(lambda: len(list(root.glob(".runs/*/cli/*/.heartbeat"))) >= count, beats)
        try:
            yield Live(root=root, process=process, tree=mine)
        finally:
            stop(mine, root)
            process.wait(STOP_S)
            mine.settle()


def stop(mine: Tree, root: Path) -> None:
    """Stop the supervisor of a root and all of its runs."""
    mine.start([*SUPERVISOR, "stop", "--root", str(root)], root).wait(STOP_S)


def rows(count: int, *, quiet_s: float = QUIET_S) -> Iterator[Row]:
    """Measure ``count`` live runs; there are goals for 50 and for 1,000."""
    few = count <= 50
    live_runs = f"{count:,} live"
    with directory() as root, alive(root, count) as live:
        time.sleep(SETTLE_S)
        ours = live.ours()
        memory = pss_bytes(ours) / count / 1e6
        boss, tree_s, began = cpu_s(live.pid), sum(map(cpu_s, ours)), time.monotonic()
        time.sleep(quiet_s)  # the measured idle time
        seconds = time.monotonic() - began
        boss = (cpu_s(live.pid) - boss) / seconds * 100
        tree_share = (sum(map(cpu_s, ours)) - tree_s) / seconds * 100
        yield plain_row(f"PSS per run, {live_runs}", "MB", [memory], 2.0 if few else 1.5)
        name, unit = f"supervisor's CPU, {live_runs}", "% of a core"
        yield plain_row(name, unit, [boss], 0.1 if few else 0.5)
        yield plain_row(f"CPU of all, {live_runs}", unit, [tree_share], 0.3 if few else 2.5)
        workers = [(pid, run) for pid in ours if (run := worker_of(pid))]
        step = max(1, len(workers) // VICTIMS_COUNT)
        waits = [_death_ms(*victim) for victim in workers[::step][:VICTIMS_COUNT]]
    name = f"death of a worker to its verdict on disk, {live_runs}"
    yield plain_row(f"{name}, median", "ms", waits, 50.0)
    yield worst_row(f"{name}, worst", "ms", waits, 1000.0)


def _death_ms(pid: int, run: Path) -> float:
    """Kill a worker and return the time until its journal has a verdict, in ms."""
    journal = run / "journal.ndjson"
    began = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    until(lambda: b'"event": "verdict"' in journal.read_bytes(), "a verdict", pause_s=0.0005)
    return (time.monotonic() - began) * 1000

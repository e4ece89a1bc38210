"""Cost of a supervised, recorded and flushed run, compared with other programs."""

from collections.abc import Callable, Iterator
from pathlib import Path

from benches import daemons, tools
from benches.measure import Cost, Figures, rounds
from benches.place import RAM, has_ram_disk, ram_disk
from benches.row import Row, ratio_row
from benches.skip import skipping
from benches.tools import ours, parallel, pool

Measure = Callable[[Path | None, int], Cost]
EXTRA = 10

# Each with fifty runs on the disk; the origin, half a second per run, with ten.
PEERS: dict[str, tuple[Measure, int, float | None]] = {
    "supervisord": (daemons.supervisord, 50, 0.3),
    "pm2": (daemons.pm2, 50, 0.5),
    "circus": (daemons.circus, 50, None),
    "task-spooler": (tools.task_spooler, 50, None),
    "the origin": (tools.origin, 10, None),
}


class Both:
    """A measurement that returns CPU and stores the wall time.

    Args:
        measure: measures ``count`` jobs in a directory.
        base: parent of the directory; None for the disk.
        count: number of runs.
    """

    def __init__(self, measure: Measure, base: Path | None, count: int) -> None:
        self._measure = measure
        self._base = base
        self._count = count
        self.walls_ms: list[float] = []

    def __call__(self) -> float:
        """CPU per run in milliseconds."""
        cost = self._measure(self._base, self._count)
        self.walls_ms.append(cost.wall_s * 1000 / self._count)
        return cost.cpu_s * 1000 / self._count


def stamped(base: Path | None, count: int) -> Cost:
    """Ours, with the command that the daemons get."""
    return tools.stamped(base, count)[0]


def rows(rounds_count: int) -> Iterator[Row]:
    """All rows about short runs."""
    yield from _beside_parallel(rounds_count)
    yield from _beside_spawn(rounds_count)
    for name, (measure, count, goal) in PEERS.items():
        row_name = f"CPU per run of {count}, disk"
        with skipping(row_name, name, goal) as found:
            figures = rounds(rounds_count, Both(stamped, None, count), Both(measure, None, count))
            found.append(ratio_row(row_name, name, "ms", figures, goal))
        yield from found


def _beside_parallel(rounds_count: int) -> Iterator[Row]:
    cases = (("disk", 50, 0.75), ("RAM disk", 1000, 0.8), ("disk", 1000, 1.0))
    for where, count, goal in cases:
        name, peer = f"CPU per run of {count:,}, {where}", "GNU parallel"
        with skipping(name, peer, goal) as found:
            base = None if where == "disk" else ram_disk()
            mine, theirs = Both(ours, base, count), Both(parallel, base, count)
            found.append(ratio_row(name, peer, "ms", rounds(rounds_count, mine, theirs), goal))
            if count == 1000:
                walls = Figures(ours=tuple(mine.walls_ms[1:]), peer=tuple(theirs.walls_ms[1:]))
                wall = f"wall per run of {count:,}, {where}"
                found.append(ratio_row(wall, peer, "ms", walls, 0.8))
        yield from found


def _beside_spawn(rounds_count: int) -> Iterator[Row]:
    def one_more(base: Path | None) -> float:
        more, less = (ours(base, 100, stages_count=1 + n) for n in (EXTRA, 0))
        return (more.cpu_s - less.cpu_s) * 1000 / EXTRA / 100

    base = RAM if has_ram_disk() else None
    theirs = Both(pool, base, 1000)
    cases: tuple[tuple[str, Callable[[], float], float], ...] = (
        ("CPU per run of 1,000", Both(ours, base, 1000), 5.0),
        ("CPU of one more stage", lambda: one_more(base), 2.0),
    )
    for name, mine, goal in cases:
        with skipping(name, "bare spawn", goal) as found:
            figures = rounds(rounds_count, mine, theirs)
            found.append(ratio_row(name, "bare spawn", "ms", figures, goal))
        yield from found

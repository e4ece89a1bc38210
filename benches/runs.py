"""What a supervised, recorded, flushed run costs beside GNU parallel's job and a bare spawn."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from benches.measure import Figures, rounds, run
from benches.place import RAM, directory, has_ram_disk, start, write_batch
from benches.row import Row, ratio_row

AT_ONCE = 50
TRUE = shutil.which("true") or "/bin/true"
ARGV = f'["{TRUE}"]'


def _ours(base: Path | None, count: int, stages_count: int = 1) -> tuple[float, float]:
    """CPU and wall per run, in milliseconds; every run is known to have succeeded by the code."""
    with directory(base) as root:
        write_batch(root, count, *[ARGV] * stages_count)
        cost = run(start(root, "--max-runs", str(AT_ONCE)), root)
    return cost.cpu_s * 1000 / count, cost.wall_s * 1000 / count


def _parallel(base: Path | None, count: int) -> tuple[float, float]:
    with directory(base) as place:
        (place / ".parallel").mkdir()
        (place / ".parallel/will-cite").touch()
        line = f"seq {count} | parallel -j{AT_ONCE} --joblog log --results out {TRUE}"
        cost = run(["sh", "-c", line], place, env={"HOME": str(place)})
        done = len((place / "log").read_text().splitlines()) - 1
        if done != count:
            raise RuntimeError(f"GNU parallel ran {done} of {count} jobs")
    return cost.cpu_s * 1000 / count, cost.wall_s * 1000 / count


def _pool(pool: Path, count: int) -> float:
    cost = run([str(pool), str(count), str(AT_ONCE), TRUE], pool.parent)
    return cost.cpu_s * 1000 / count


class Both:
    """A measurement that is called for its CPU and remembers its wall time.

    Args:
        measure: returns CPU and wall per run, in milliseconds.
        base: where; None for the disk.
        count: how many runs.
    """

    def __init__(
        self,
        measure: Callable[[Path | None, int], tuple[float, float]],
        base: Path | None,
        count: int,
    ) -> None:
        self._measure = measure
        self._base = base
        self._count = count
        self.walls_ms: list[float] = []

    def __call__(self) -> float:
        """Measure once."""
        cpu_ms, wall_ms = self._measure(self._base, self._count)
        self.walls_ms.append(wall_ms)
        return cpu_ms


def build_pool(place: Path) -> Path | None:
    """Compile the bare spawner; None where there is no compiler."""
    if shutil.which("cc") is None:
        return None
    built = place / "spawnpool"
    source = Path(__file__).with_name("spawnpool.c")
    subprocess.run(["cc", "-O2", "-o", str(built), str(source)], check=True)
    return built


def rows(rounds_count: int) -> Iterator[Row]:
    """Everything about single runs."""
    yield from _beside_parallel(rounds_count)
    with directory() as place:
        pool = build_pool(place)
        names = ("CPU per run of 1,000", "CPU of one more stage")
        if pool is None:
            yield from (
                Row(name=name, peer="bare spawn", skipped="no C compiler") for name in names
            )
            return
        base = RAM if has_ram_disk() else None
        figures = rounds(rounds_count, lambda: _ours(base, 1000)[0], lambda: _pool(pool, 1000))
        yield ratio_row(names[0], "bare spawn", "ms", figures, 5.0)

        def one_more() -> float:
            return (_ours(base, 100, 11)[0] - _ours(base, 100, 1)[0]) / 10

        figures = rounds(rounds_count, one_more, lambda: _pool(pool, 1000))
        yield ratio_row(names[1], "bare spawn", "ms", figures, 2.0)


def _beside_parallel(rounds_count: int) -> Iterator[Row]:
    cases = (
        ("CPU per run of 50, disk", None, 50, 0.75),
        ("CPU per run of 1,000, RAM disk", RAM, 1000, 0.8),
        ("CPU per run of 1,000, disk", None, 1000, 1.0),
    )
    for name, base, count, goal in cases:
        peer = "GNU parallel"
        if shutil.which("parallel") is None:
            yield Row(name=name, peer=peer, skipped="GNU parallel is not installed")
            continue
        if base is not None and not has_ram_disk():
            yield Row(name=name, peer=peer, skipped="no RAM disk")
            continue
        ours, theirs = Both(_ours, base, count), Both(_parallel, base, count)
        yield ratio_row(name, peer, "ms", rounds(rounds_count, ours, theirs), goal)
        if base is None and count == 1000:
            walls = Figures(ours=tuple(ours.walls_ms[1:]), peer=tuple(theirs.walls_ms[1:]))
            yield ratio_row("wall per run of 1,000, disk", peer, "ms", walls, 0.8)

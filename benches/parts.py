"""Where the CPU of a run goes: start, supervisor, zygote, workers and commands."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from benches import tools
from benches.history import bare_start
from benches.measure import run
from benches.place import RAM, TRUE, directory, has_ram_disk, start, write_batch
from benches.process_stats import cpu_s
from benches.row import Row, plain_row
from benches.skip import skipping
from benches.tree import descendants, tree

COUNT = 1000
LOOK_S = 0.002


def rows(rounds_count: int) -> Iterator[Row]:
    """Medians per run of ``true``, of a thousand runs; these rows have no goals."""
    base = RAM if has_ram_disk() else None
    fixed, parts = [], [_parts(base) for _ in range(rounds_count)]
    with directory(base) as root:
        write_batch(root, 1, TRUE)
        run(start(root), root)
        fixed = [run(bare_start(root), root).cpu_s * 1000 for _ in range(rounds_count)]
    yield plain_row("part: a start with nothing to do", "ms", fixed)
    names = ("the supervisor, its start included", "the zygote", "workers and commands")
    for name, values in zip(names, zip(*parts, strict=True), strict=True):
        yield plain_row(f"part: {name}, CPU per run of {COUNT:,}", "ms", values)
    name = f"part: the command alone, CPU per run of {COUNT:,}"
    with skipping(name, "bare spawn") as found:
        bare = [tools.pool(base, COUNT).cpu_s * 1000 / COUNT for _ in range(rounds_count)]
        found.append(plain_row(name, "ms", bare))
    yield from found


def _parts(base: Path | None) -> tuple[float, float, float]:
    """CPU per run in ms of the supervisor, the zygote, and all other processes.

    The first two are polled until they end, so at most the last poll interval is missing.
    """
    with directory(base) as root, tree() as mine:
        write_batch(root, COUNT, TRUE)
        process = mine.start(start(root, "--max-runs", str(tools.AT_ONCE)), root)
        boss = zygote = 0.0
        while process.poll() is None:
            with contextlib.suppress(OSError, IndexError):
                boss = cpu_s(process.pid)
                zygote = cpu_s(descendants(process.pid)[0])
            time.sleep(LOOK_S)
        mine.settle()
        if process.returncode:
            raise RuntimeError(f"exit code {process.returncode}: {mine.complaints()}")
        rest = mine.cpu_s() - boss - zygote
    return boss * 1000 / COUNT, zygote * 1000 / COUNT, rest * 1000 / COUNT

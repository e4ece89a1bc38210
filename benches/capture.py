"""Cost of capturing output: a GiB through a stage, compared with ``cat``."""

import contextlib
import statistics
import time
from collections.abc import Iterator
from functools import partial

from benches.live import alive
from benches.measure import rounds, run
from benches.place import TRUE, directory, start, write_batch
from benches.process_stats import own_bytes, worker_of
from benches.programs import program
from benches.row import Row, plain_row, ratio_row, worst_row
from benches.skip import skipping
from benches.tree import descendants, tree

GIB = 1 << 30
AT_ONCE = 50
PEER = "the same into cat >/dev/null"


def rows(rounds_count: int) -> Iterator[Row]:
    """Writes of ``head``, of 64 KiB, and of 80 bytes; fifty at once, and their memory."""
    cases: tuple[tuple[str, int, tuple[int, int] | None, float | None], ...] = (
        ("1 GiB of head -c", 1, None, 0.75),
        ("1 GiB in writes of 64 KiB", 1, (GIB, 1 << 16), 0.75),
        ("64 MiB in writes of 80 B", 1, (64 << 20, 80), None),
        (f"{AT_ONCE} x 64 MiB at once", AT_ONCE, (64 << 20, 1 << 16), 1.1),
    )
    for text, count, sizes, goal in cases:
        name = f"CPU of capturing {text}"
        with skipping(name, PEER, goal) as found:
            argv = ["head", "-c", str(GIB), "/dev/zero"] if sizes is None else _flood(*sizes)
            ours, peer = partial(_stage, count, argv), partial(_cat, count, argv)
            found.append(ratio_row(name, PEER, "ms", rounds(rounds_count, ours, peer), goal))
        yield from found
    name = f"memory of a capture beyond its worker's, {AT_ONCE} at once"
    with skipping(name, goal=256.0) as found:
        memory = _memory_kib()
        found.append(plain_row(f"{name}, median", "KiB", memory, 256.0))
        found.append(worst_row(f"{name}, worst", "KiB", memory))
    yield from found


def _flood(size: int, write_size: int) -> list[str]:
    return [str(program("flood")), str(size), str(write_size)]


def _stage(count: int, argv: list[str]) -> float:
    """CPU of ``count`` runs of a command, in ms, less that of as many runs of ``true``."""
    costs = []
    for command in (argv, TRUE):
        with directory() as root:
            write_batch(root, count, command)
            costs.append(run(start(root), root).cpu_s * 1000)
    return costs[0] - costs[1]


def _cat(count: int, argv: list[str]) -> float:
    with directory() as place:
        one = f"({' '.join(argv)} | cat >/dev/null) &"
        line = f"for i in $(seq {count}); do {one} done; wait"
        return run(["sh", "-c", line], place).cpu_s * 1000


def _memory_kib() -> list[float]:
    """The peak memory of each worker while many stages run, less that of a quiet worker.

    Memory mapped by one process only counts as its own, so shared memory would count, too, once the
    other processes have ended.
    """
    with directory() as root, alive(root, AT_ONCE) as live:
        time.sleep(1.0)
        quiet = statistics.median(own_bytes(pid) for pid in live.ours() if worker_of(pid))
    most: dict[int, int] = {}
    argv = _flood(2 * GIB, 1 << 16)
    with directory() as root, tree() as mine:
        write_batch(root, AT_ONCE, argv)
        process = mine.start(start(root), root)
        while process.poll() is None:
            found: dict[int, int] = {}
            for pid in descendants(process.pid):
                with contextlib.suppress(OSError, ValueError):  # the process has just ended
                    if worker_of(pid) is not None:
                        found[pid] = own_bytes(pid)
            if sum(bool(descendants(pid)) for pid in found) >= AT_ONCE // 4:
                most |= {pid: max(most.get(pid, 0), found[pid]) for pid in found}
            time.sleep(0.05)
        mine.settle()
    return [(found - quiet) / 1024 for found in most.values()]

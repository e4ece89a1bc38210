"""What keeping output costs: a gibibyte through a stage, beside the same through ``cat``."""

from collections.abc import Iterator
from functools import partial

from benches.measure import rounds, run
from benches.place import directory, start, write_batch
from benches.row import Row, ratio_row

GIB = 1 << 30


def _stage(command: str) -> float:
    """CPU of one run of a shell command, in milliseconds, less that of one of ``true``."""
    costs = []
    for text in (command, "true"):
        with directory() as root:
            write_batch(root, 1, f'"{text}"')
            costs.append(run(start(root), root).cpu_s * 1000)
    return costs[0] - costs[1]


def _cat(command: str) -> float:
    with directory() as place:
        return run(["sh", "-c", f"({command}) | cat > /dev/null"], place).cpu_s * 1000


def rows(rounds_count: int) -> Iterator[Row]:
    """In large writes, in writes of 64 KiB, and in lines of 80 bytes."""
    line = "a" * 79
    cases = (
        ("1 GiB in large writes", f"head -c {GIB} /dev/zero", 0.75),
        ("1 GiB in 64 KiB writes", f"dd if=/dev/zero bs=64k count={GIB >> 16} status=none", 0.75),
        ("64 MiB in 80 B writes", f"yes {line} | stdbuf -oL head -c {1 << 26}", None),
    )
    for name, command, goal in cases:
        figures = rounds(rounds_count, partial(_stage, command), partial(_cat, command))
        yield ratio_row(f"capture of {name}, CPU", "| cat", "ms", figures, goal)

"""What it costs to be asked: CPU of whole commands beside a bare interpreter."""

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benches.measure import rounds, run
from benches.place import SUPERVISOR, directory, start, write_batch
from benches.row import Row, ratio_row
from benches.runs import ARGV

RUNS_COUNT = 1000
BARE = [sys.executable, "-I", "-S", "-c", "pass"]


def rows(rounds_count: int) -> Iterator[Row]:
    """The commands that scripts call often."""
    cases = (
        ("--version", ["--version"], 4.0),
        (f"status --json over {RUNS_COUNT:,} runs", ["status", "--json"], 8.0),
        ("submit of a command", ["submit", "--", "true"], 6.0),
    )
    with directory() as root:
        write_batch(root, RUNS_COUNT, ARGV)
        run(start(root), root)
        for name, words, goal in cases:
            ours = partial(_cpu_ms, [*SUPERVISOR, *words], root)
            figures = rounds(max(5, rounds_count), ours, partial(_cpu_ms, BARE, root))
            yield ratio_row(f"CPU of {name}", "python -I -S -c pass", "ms", figures, goal)


def _cpu_ms(words: list[str], cwd: Path) -> float:
    return run(words, cwd).cpu_s * 1000

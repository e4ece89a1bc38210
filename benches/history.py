"""Cost of a long history: recording one more run, and a start."""

import json
from collections.abc import Iterator
from pathlib import Path

from benches.measure import rounds, run
from benches.place import SUPERVISOR, TRUE, directory, start, write_batch
from benches.row import Row, plain_row, ratio_row

LONG, SHORT = 100_000, 10


def prepare(root: Path, count: int) -> None:
    """Prepare a root with one task that has ``count`` finished runs in its history."""
    write_batch(root, 1, TRUE)
    run(start(root), root)
    path = root / "out/default/history.ndjson"
    line = json.loads(path.read_text())
    with path.open("w") as file:
        for number in range(count):
            file.write(json.dumps({**line, "runId": old_run(number)}) + "\n")
    for name in ("out/default/state.json", ".runs/default/metrics.json"):
        (root / name).unlink()  # the next start computes them from the history
    run(bare_start(root), root)
    run(start(root, "--again"), root)  # state and metrics cover it now


def old_run(number: int) -> str:
    """The id of a finished run of the prepared history."""
    return f"2020-01-01T00-00-00-000Z-{number:08x}"


def bare_start(root: Path) -> list[str]:
    """The command line of a start with nothing to do."""
    return [*SUPERVISOR, "start", "--once", "--root", str(root)]


def rows(rounds_count: int) -> Iterator[Row]:
    """Runs that end in a task with a long history and in one with a short history."""
    with directory() as long, directory() as short:
        prepare(long, LONG)
        prepare(short, SHORT)

        def ms(root: Path) -> float:
            return run(start(root, "--again"), root).cpu_s * 1000

        figures = rounds(max(7, rounds_count), lambda: ms(long), lambda: ms(short))
        name, peer = f"one run and its start, history of {LONG:,}", f"history of {SHORT}"
        yield ratio_row(name, peer, "ms", figures, 1.3)
        walls = [run(bare_start(long), long).wall_s for _ in range(rounds_count)]
        yield plain_row(f"start over a history of {LONG:,}", "s", walls, 5.0)

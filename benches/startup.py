"""CPU of whole commands, compared with a bare interpreter."""

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benches.daemons import living_supervisord
from benches.measure import rounds, run
from benches.peers import find
from benches.place import SUPERVISOR, TRUE, directory, start, write_batch
from benches.row import Row, ratio_row
from benches.skip import skipping

RUNS_COUNT = 1000
PROGRAMS_COUNT = 50
BARE = [sys.executable, "-I", "-S", "-c", "pass"]


def rows(rounds_count: int) -> Iterator[Row]:
    """Rows for commands that scripts call often."""
    status = f"status --json over {RUNS_COUNT:,} runs"
    cases = (
        ("--version", ["--version"], 4.0),
        (status, ["status", "--json"], 8.0),
        ("submit of a command", ["submit", "--", "true"], 6.0),
    )
    count = max(5, rounds_count)
    with directory() as root:
        write_batch(root, RUNS_COUNT, TRUE)
        run(start(root), root)
        for name, argv, goal in cases:
            ours = partial(_cpu_ms, [*SUPERVISOR, *argv], root)
            figures = rounds(count, ours, partial(_cpu_ms, BARE, root))
            yield ratio_row(f"CPU of {name}", "python -I -S -c pass", "ms", figures, goal)
        with skipping(f"CPU of {status}", "supervisorctl status") as found, directory() as place:
            ask = [str(find("supervisorctl")), "-c", str(place / "conf"), "status"]
            with living_supervisord(place, PROGRAMS_COUNT):
                ours = partial(_cpu_ms, [*SUPERVISOR, "status", "--json"], root)
                figures = rounds(count, ours, partial(_cpu_ms, ask, place))
            peer = f"supervisorctl status, {PROGRAMS_COUNT} programs"
            found.append(ratio_row(f"CPU of {status}", peer, "ms", figures))
        yield from found


def _cpu_ms(argv: list[str], cwd: Path) -> float:
    return run(argv, cwd).cpu_s * 1000

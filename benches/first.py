"""Latency: a start to its first stage, a submit to its stage, the last end to the exit."""

import time
from collections.abc import Iterator
from pathlib import Path

from benches import tools
from benches.live import alive
from benches.measure import Figures, run, until
from benches.place import SUPERVISOR, directory
from benches.programs import program, stamps
from benches.row import Row, plain_row, ratio_row
from benches.skip import skipping

COUNT = 50


def rows(rounds_count: int) -> Iterator[Row]:
    """Wall times in ms."""
    yield from _start(max(7, rounds_count))
    with skipping("submit to first stage, less submit itself", goal=30.0) as found:
        found += _submit(max(7, rounds_count))
    yield from found


def _start(count: int) -> Iterator[Row]:
    mine: list[float] = []
    theirs: list[float] = []
    ends: list[float] = []
    name, peer = "cold start to first stage", "GNU parallel's first job"
    with skipping("last run's end to exit of start --once", goal=50.0) as found:
        with skipping(name, peer, 0.7) as rows_of_peer:
            for number in range(count + 1):
                cost, instants = tools.stamped(None, COUNT)
                if number:  # the first does not count
                    mine.append((instants[0] - cost.began_mono_s) * 1000)
                    ends.append((cost.ended_mono_s - instants[-1]) * 1000)
                cost, instants = tools.parallel_stamped(None, COUNT)
                if number:
                    theirs.append((instants[0] - cost.began_mono_s) * 1000)
            figures = Figures(ours=tuple(mine), peer=tuple(theirs))
            rows_of_peer.append(ratio_row(name, peer, "ms", figures, 0.7))
        if not ends:  # the peer is missing
            ends += [_last_end_ms() for _ in range(count)]
        found += rows_of_peer
        found.append(plain_row("last run's end to exit of start --once", "ms", ends, 50.0))
    yield from found


def _last_end_ms() -> float:
    cost, instants = tools.stamped(None, COUNT)
    return (cost.ended_mono_s - instants[-1]) * 1000


def _submit(count: int) -> list[Row]:
    """Time to the stage of a submitted run, from the start and from the end of ``submit``.

    The first rounds validate the configuration: a file that was just written is not cached.
    """
    whole, beyond = [], []
    job = str(program("stamp"))
    with directory() as root, alive(root, 1):
        for _ in range(count):
            began = time.monotonic()
            known = len(stamps(root / "stamps"))
            own_s = run(_submit_words(root, job), root).wall_s
            first = _next_stamp(root / "stamps", known)
            whole.append((first - began) * 1000)
            beyond.append((first - began - own_s) * 1000)
    name = "submit to first stage"
    return [
        plain_row(f"{name}, with a live supervisor", "ms", whole),
        plain_row(f"{name}, less submit itself", "ms", beyond, 30.0),
    ]


def _next_stamp(path: Path, known: int) -> float:
    until(lambda: len(stamps(path)) > known, "the stage of a submitted run", pause_s=0.001)
    return max(stamps(path).values())


def _submit_words(root: Path, job: str) -> list[str]:
    return [*SUPERVISOR, "submit", "--root", str(root), "--", job, str(root / "stamps")]

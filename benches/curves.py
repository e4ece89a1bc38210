"""The curves of the pictures: cost per run, memory per live run, time by length of history."""

from collections.abc import Callable, Iterator
from pathlib import Path

from benches import daemons, tools
from benches.history import bare_start, prepare
from benches.live import alive
from benches.measure import Cost, run, until
from benches.peers import find
from benches.place import directory, start
from benches.process_stats import pss_bytes
from benches.row import Missing, Point, point
from benches.tree import descendants, tree

COST, MEMORY, HISTORY = "cost", "memory", "history"
RUNS_COUNTS = (1, 10, 50, 200, 1000)
LIVE_COUNTS = (10, 50, 200, 1000)
HISTORY_COUNTS = (10, 1000, 10_000, 100_000)
MOST_ROUNDS = 3

# The most jobs for each: the daemons are not built for a thousand short ones.
SIDES: dict[str, tuple[Callable[[Path | None, int], Cost], int]] = {
    "ours": (tools.ours, 1000),
    "GNU parallel": (tools.parallel, 1000),
    "task-spooler": (tools.task_spooler, 1000),
    "bare spawn": (tools.pool, 1000),
    "supervisord": (daemons.supervisord, 200),
    "circus": (daemons.circus, 200),
    "pm2": (daemons.pm2, 200),
    "the origin": (tools.origin, 10),
}


def points(rounds_count: int) -> Iterator[Point]:
    """All points; a missing peer has no curve."""
    yield from _memory()
    yield from _cost(min(rounds_count, MOST_ROUNDS))
    yield from _history(min(rounds_count, MOST_ROUNDS))


def _cost(rounds_count: int) -> Iterator[Point]:
    """CPU per run of ``true`` on the disk, in ms."""
    for count in RUNS_COUNTS:
        found: dict[str, list[float]] = {}
        for number in range(rounds_count + 1):  # the first does not count
            for side, (measure, most) in SIDES.items():
                try:
                    cost = None if count > most else measure(None, count)
                except Missing:
                    cost = None
                if number and cost is not None:
                    found.setdefault(side, []).append(cost.cpu_s * 1000 / count)
        yield from (point(COST, side, count, values) for side, values in found.items())


def _memory() -> Iterator[Point]:
    """Memory per live run of ``sleep`` in MB, without the sleep process."""
    for count in LIVE_COUNTS:
        with directory() as root, alive(root, count) as live:
            yield point(MEMORY, "ours", count, [pss_bytes(live.ours()) / count / 1e6])
        for side, measure in (("GNU parallel", _parallel_pss), ("supervisord", _supervisord_pss)):
            try:
                if count <= SIDES["supervisord"][1]:
                    yield point(MEMORY, side, count, [measure(count) / count / 1e6])
            except Missing:
                continue


def _parallel_pss(count: int) -> int:
    tool = find("parallel")
    with directory() as place, tree() as mine:
        (place / ".parallel").mkdir()
        (place / ".parallel/will-cite").touch()
        line = f"seq {count} | exec {tool} -j{count} --joblog log --results out 'sleep 600' '#'"
        process = mine.start(["sh", "-c", line], place, env={"HOME": str(place)})
        until(lambda: len(_sleepers(process.pid)) == count, "the jobs of GNU parallel")
        return pss_bytes(_others(process.pid))  # the tree kills the remaining processes


def _supervisord_pss(count: int) -> int:
    with directory() as place, daemons.living_supervisord(place, count) as (_, process):
        return pss_bytes(_others(process.pid))


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""  # the process has just ended


def _sleepers(pid: int) -> list[int]:
    return [below for below in descendants(pid) if _name(below) == "sleep"]


def _others(pid: int) -> list[int]:
    return [pid, *(below for below in descendants(pid) if _name(below) not in ("", "sleep"))]


def _history(rounds_count: int) -> Iterator[Point]:
    """Wall time in ms of a start over a history, alone and with one run to record."""
    for count in HISTORY_COUNTS:
        with directory() as root:
            prepare(root, count)
            sides = {"a start": bare_start(root), "a start and one run": start(root, "--again")}
            for side, argv in sides.items():
                walls = [run(argv, root).wall_s * 1000 for _ in range(rounds_count)]
                yield point(HISTORY, side, count, walls)

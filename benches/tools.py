"""Ours and the peers that are commands: run a number of jobs and check that each has run."""

import json
from collections.abc import Sequence
from pathlib import Path

from benches.measure import Cost, run
from benches.peers import find
from benches.place import TRUE, directory, start, write_batch
from benches.programs import program, stamps

AT_ONCE = 50


def ours(
    base: Path | None, count: int, *, argv: Sequence[str] = TRUE, stages_count: int = 1
) -> Cost:
    """A batch with ``start --once``; its exit code proves that every run succeeded."""
    with directory(base) as root:
        write_batch(root, count, *[argv] * stages_count)
        return run(start(root, "--max-runs", str(AT_ONCE)), root)


def stamped(base: Path | None, count: int) -> tuple[Cost, list[float]]:
    """The same, with a command that records when it ran."""
    with directory(base) as root:
        write_batch(root, count, [str(program("stamp")), str(root / "stamps")])
        cost = run(start(root, "--max-runs", str(AT_ONCE)), root)
        return cost, checked("ours", root / "stamps", count)


def checked(who: str, path: Path, count: int) -> list[float]:
    """The times at which the jobs ran, in order.

    Raises:
        RuntimeError: fewer jobs ran.
    """
    found = sorted(stamps(path).values())
    if len(found) != count:
        raise RuntimeError(f"{who} ran {len(found)} of {count} jobs")
    return found


def parallel(base: Path | None, count: int) -> Cost:
    """GNU parallel with job log and results, its closest equivalent of records."""
    with directory(base) as place:
        cost = _parallel(place, count, " ".join(TRUE))
        done = len((place / "log").read_text().splitlines()) - 1
        if done != count:
            raise RuntimeError(f"GNU parallel ran {done} of {count} jobs")
        return cost


def parallel_stamped(base: Path | None, count: int) -> tuple[Cost, list[float]]:
    """The same, with a command that records when it ran."""
    with directory(base) as place:
        cost = _parallel(place, count, f"{program('stamp')} {place / 'stamps'} #")
        return cost, checked("GNU parallel", place / "stamps", count)


def _parallel(place: Path, count: int, command: str) -> Cost:
    tool = find("parallel")
    (place / ".parallel").mkdir()
    (place / ".parallel/will-cite").touch()
    line = f"seq {count} | {tool} -j{AT_ONCE} --joblog log --results out '{command}'"
    return run(["sh", "-c", line], place, env={"HOME": str(place)})


def pool(base: Path | None, count: int) -> Cost:
    """A bare spawner in C that waits for each program: the minimal cost of starting it."""
    return run([str(program("pool")), str(count), str(AT_ONCE), *TRUE], base or Path("/"))


def task_spooler(base: Path | None, count: int) -> Cost:
    """task-spooler: one client per job, one server, one output file per job."""
    tool = find("tsp")
    with directory(base) as place:
        job = f"{program('stamp')} {place / 'stamps'}"
        waiting = f"{tool} -S {AT_ONCE}; for i in $(seq {count}); do {tool} {job}; done >/dev/null"
        last = f"while {tool} -l | grep -qE 'running|queued'; do sleep 0.05; done; {tool} -K"
        env = {
            "TS_SOCKET": str(place / "socket"),
            "TMPDIR": str(place),
            "TS_MAXFINISHED": str(count),
        }
        cost = run(["sh", "-c", f"{waiting}; {last}"], place, env=env)
        checked("task-spooler", place / "stamps", count)
        return cost


def origin(base: Path | None, count: int) -> Cost:
    """The origin, in Node.js: a process per run, all at once.

    Each run has a task of its own, because runs of one task that start together get lost.
    """
    tool = find("codex-orchestrator")
    with directory(base) as place:
        command = f"{program('stamp')} {place / 'stamps'}"
        stage = {"kind": "command", "id": "s0", "title": "s0", "command": command}
        pipeline = {"id": "p", "title": "p", "stages": [stage]}
        config = {"defaultPipeline": "p", "pipelines": [pipeline]}
        (place / "codex.orchestrator.json").write_text(json.dumps(config))
        one = f"{tool} start p --task t$i --format json >/dev/null &"
        line = f"for i in $(seq {count}); do {one} done; wait"
        cost = run(["sh", "-c", line], place, env={"HOME": str(place)})
        checked("the origin", place / "stamps", count)
        return cost

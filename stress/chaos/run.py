"""One round of chaos: break everything for a while, settle it, and judge."""

import shutil
import signal
import sys
import tempfile
import time
from typing import Final

from stress.chaos.actions import act, make_weights
from stress.chaos.calm import run_calmly
from stress.chaos.checks import Observations, check
from stress.chaos.outcome import Outcome
from stress.chaos.reader import Reader
from stress.chaos.world import World
from stress.evidence import Evidence

_SETTLE_WITHIN_S: Final = 300.0
_CLIENTS_WITHIN_S: Final = 20.0


def chaos(directory: str, *, seed: int, seconds: float, keep: bool = False) -> Outcome:
    """Break everything for a time, then settle and judge.

    Args:
        directory: an existing empty directory.
        seed: of all random choices.
        seconds: duration of the faults; calm phase and settling take longer.
        keep: copy the root to ``directory`` even if nothing is broken.
    """
    outcome = Outcome(seed=seed, seconds=seconds)
    world = World(directory, seed)
    try:
        world.open()
        outcome.left_out = [
            f"{what}: {why}"
            for what, why in (
                ("fill the disk", world.disk.unavailable_reason),
                ("jump the wall clock", world.clock.unavailable_reason),
            )
            if why is not None
        ]
        _inject(world, outcome)
        if keep or outcome.broken:
            world.copy_root()
        return outcome
    finally:
        world.close()


def _inject(world: World, outcome: Outcome) -> None:
    reader = Reader(world.layout)
    reader.start()
    try:
        weights = make_weights(world.chance)
        until = time.monotonic() + outcome.seconds
        while time.monotonic() < until:
            world.due()
            act(world, weights, outcome.done)
            world.collect()
            time.sleep(world.chance.uniform(0.0, 0.1))
        _end_faults(world)
        outcome.held, calm = run_calmly(world)
        world.kill_all()
        settled = world.call("start", "--once", within_s=_SETTLE_WITHIN_S)
        alive = world.processes()
    finally:
        reader.stop()
    evidence, outcome.invariants = check(
        Observations(
            layout=world.layout,
            marks=world.marks,
            acknowledged=frozenset(world.acknowledged),
            exits={verb: frozenset(codes) for verb, codes in world.exits.items()},
            said=tuple(world.said),
            alive=tuple(f"pid {found.pid}, a {found.role}" for found in alive),
            reading=tuple(reader.problems),
            calm=tuple(calm),
            settled=settled,
        )
    )
    _summarize(outcome, world, evidence, reader)


def _end_faults(world: World) -> None:
    """Continue, free and reset everything, and wait for the commands."""
    world.run_delayed()
    for found in world.processes():
        found.signal(signal.SIGCONT)
    world.disk.free()
    world.clock.jump(0)
    until = time.monotonic() + _CLIENTS_WITHIN_S
    while any(client.argv[0] == "submit" for client in world.clients):
        world.collect()
        if time.monotonic() > until:
            break
        time.sleep(0.05)


def _summarize(outcome: Outcome, world: World, evidence: Evidence, reader: Reader) -> None:
    outcome.acknowledged_count = len(world.acknowledged)
    outcome.reads_count = reader.reads_count
    for run in evidence.runs.values():
        manifest = run.manifest or {}
        detail = manifest.get("status_detail")
        word = f"{manifest.get('status')}" + (f" ({detail})" if detail else "")
        outcome.statuses[word] += 1
    outcome.guardrails = [dict(row) for row in evidence.metrics.get("guardrails") or ()]


def run(*, seed: int, seconds: float, keep: bool) -> tuple[Outcome, str | None]:
    """Run chaos in a temporary directory; remove it unless something is broken.

    Returns:
        The outcome, and the directory if it was kept.
    """
    directory = tempfile.mkdtemp(prefix="chaos-")
    print(f"chaos: seed {seed}, {seconds:g} s, in {directory}", file=sys.stderr)
    kept = None
    try:
        outcome = chaos(directory, seed=seed, seconds=seconds, keep=keep)
        if keep or outcome.broken:
            kept = directory
        return outcome, kept
    finally:
        if kept is None:
            shutil.rmtree(directory, ignore_errors=True)
        else:
            print(f"chaos: kept: {directory}", file=sys.stderr)

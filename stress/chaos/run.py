"""One round of chaos: break everything for a while, settle it, and judge."""

import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from stress.chaos.calm import Held, stay_calm
from stress.chaos.checks import Seen, check
from stress.chaos.deeds import DEEDS, act
from stress.chaos.reader import Reader
from stress.chaos.world import World
from stress.evidence import Evidence
from stress.invariants import Invariant
from stress.table import align, invariant_lines

SCHEMA: Final = "pipeline-supervisor/chaos/1"
_SETTLE_WITHIN_S: Final = 300.0
_CLIENTS_WITHIN_S: Final = 20.0


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What was done and what was found.

    Attributes:
        done: how often each deed was done.
        left_out: deeds that cannot be done here, and why.
        held: what a supervisor that lived on held after each calm round.
    """

    seed: int
    seconds: float
    done: Counter[str] = field(default_factory=Counter)
    left_out: list[str] = field(default_factory=list)
    held: list[Held] = field(default_factory=list)
    acknowledged_count: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    looks_count: int = 0
    guardrails: list[dict[str, Any]] = field(default_factory=list)
    invariants: tuple[Invariant, ...] = ()

    @property
    def broken(self) -> list[str]:
        """The invariants that do not hold."""
        return [invariant.name for invariant in self.invariants if invariant.problems]


def chaos(directory: str, *, seed: int, seconds: float, keep: bool = False) -> Outcome:
    """Break everything for so many seconds, then settle and judge.

    Args:
        directory: an existing empty directory.
        seed: of all chance.
        seconds: how long things are broken; calm phase and settling come on top.
        keep: copy the root to ``directory`` although nothing is broken.
    """
    outcome = Outcome(seed=seed, seconds=seconds)
    world = World(directory, seed)
    try:
        world.open()
        outcome.left_out = [
            f"{what}: {why}"
            for what, why in (
                ("fill the disk for a while", world.disk.why_not),
                ("jump the wall clock", world.clock.why_not),
            )
            if why is not None
        ]
        _rage(world, outcome)
        if keep or outcome.broken:
            world.copy_root()
        return outcome
    finally:
        world.close()


def _rage(world: World, outcome: Outcome) -> None:
    reader = Reader(world.layout)
    reader.start()
    try:
        until = time.monotonic() + outcome.seconds
        while time.monotonic() < until:
            world.due()
            act(world, outcome.done)
            world.collect()
            time.sleep(world.chance.uniform(0.0, 0.1))
        _quieten(world)
        outcome.held, calm = stay_calm(world)
        world.kill_all()
        settled = world.call("start", "--once", within_s=_SETTLE_WITHIN_S)
        alive = world.processes()
    finally:
        reader.stop()
    evidence, outcome.invariants = check(
        Seen(
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
    _tell(outcome, world, evidence, reader)


def _quieten(world: World) -> None:
    """Nothing is stopped, full or in a false time any more, and every command has ended."""
    world.settle_later()
    for found in world.processes():
        found.signal(signal.SIGCONT)
    world.disk.free()
    world.clock.jump(0)
    until = time.monotonic() + _CLIENTS_WITHIN_S
    while any(client.words[0] == "submit" for client in world.clients):
        world.collect()
        if time.monotonic() > until:
            break
        time.sleep(0.05)


def _tell(outcome: Outcome, world: World, evidence: Evidence, reader: Reader) -> None:
    outcome.acknowledged_count = len(world.acknowledged)
    outcome.looks_count = reader.looks_count
    for run in evidence.runs.values():
        manifest = run.manifest or {}
        detail = manifest.get("status_detail")
        word = f"{manifest.get('status')}" + (f" ({detail})" if detail else "")
        outcome.statuses[word] += 1
    outcome.guardrails = [dict(row) for row in evidence.metrics.get("guardrails") or ()]


def lines_of(outcome: Outcome) -> list[str]:
    """The outcome for people."""
    deeds = [(deed.name, str(outcome.done[deed.name])) for deed in DEEDS]
    lines = align([("deed", "times"), *deeds], right=(1,))
    lines += [f"left out: {text}" for text in outcome.left_out]
    ended = [(word, str(count)) for word, count in outcome.statuses.most_common()]
    lines += ["", *align([("runs that ended", "count"), *ended], right=(1,))]
    lines += [f"acknowledged: {outcome.acknowledged_count}; looks: {outcome.looks_count}", ""]
    rows = [
        (
            str(row.get("name")),
            f"{row.get('value')}",
            f"{row.get('limit')}",
            "BREACH" if row.get("breached") else "ok",
        )
        for row in outcome.guardrails
    ]
    lines += align([("guardrail", "value", "limit", ""), *rows], right=(1, 2))
    lines.append("")
    for number, held in enumerate(outcome.held, 1):
        lines.append(
            f"calm round {number}: {held.descriptors_count} descriptors, "
            f"{held.threads_count} threads, {held.rss_kib} KiB, {held.zombies_count} zombies"
        )
    lines += ["", *invariant_lines(outcome.invariants)]
    about = f"seed {outcome.seed}, {outcome.seconds:g} s"
    broken = outcome.broken
    verdict = f"{len(broken)} BROKEN: {'; '.join(broken)}" if broken else "nothing is broken"
    return [*lines, "", f"chaos: {about}: {verdict}"]


def to_json(outcome: Outcome) -> dict[str, Any]:
    """The outcome for programs."""
    return {
        "schema": SCHEMA,
        "seed": outcome.seed,
        "seconds": outcome.seconds,
        "deeds": dict(outcome.done),
        "left_out": outcome.left_out,
        "runs": dict(outcome.statuses),
        "guardrails": outcome.guardrails,
        "invariants": [
            {"name": i.name, "holds": not i.problems, "problems": list(i.problems)}
            for i in outcome.invariants
        ],
        "broken": outcome.broken,
    }


def run(*, seed: int, seconds: float, keep: bool) -> tuple[Outcome, str | None]:
    """Make a directory, rage in it, and remove it unless something is broken.

    Returns:
        The outcome, and where everything was kept, None where it was not.
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

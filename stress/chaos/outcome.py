"""The actions and findings of chaos, as a table or as one JSON object."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from stress.chaos.actions import ACTIONS
from stress.chaos.calm import Held
from stress.invariants import Invariant
from stress.table import align, invariant_lines

SCHEMA: Final = "pipeline-supervisor/chaos/1"


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What was done and found.

    Attributes:
        done: how often each action was performed.
        left_out: actions that are impossible here, with the reason.
        held: resources of the supervisor after each calm round.
    """

    seed: int
    seconds: float
    done: Counter[str] = field(default_factory=Counter)
    left_out: list[str] = field(default_factory=list)
    held: list[Held] = field(default_factory=list)
    acknowledged_count: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    reads_count: int = 0
    guardrails: list[dict[str, Any]] = field(default_factory=list)
    invariants: tuple[Invariant, ...] = ()

    @property
    def broken(self) -> list[str]:
        """The invariants that do not hold."""
        return [invariant.name for invariant in self.invariants if invariant.problems]


def lines_of(outcome: Outcome) -> list[str]:
    """The outcome as lines of text."""
    actions = [(action.name, str(outcome.done[action.name])) for action in ACTIONS]
    lines = align([("action", "times"), *actions], right=(1,))
    lines += [f"left out: {text}" for text in outcome.left_out]
    ended = [(word, str(count)) for word, count in outcome.statuses.most_common()]
    lines += ["", *align([("runs that ended", "count"), *ended], right=(1,))]
    lines += [
        f"acknowledged: {outcome.acknowledged_count}; reads: {outcome.reads_count}",
        "",
    ]
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
    """The outcome as JSON."""
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

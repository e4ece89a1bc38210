"""Combine guardrails and invariants into one judgement."""

from collections.abc import Sequence
from dataclasses import dataclass

from stress.evidence import Evidence
from stress.invariants import Invariant, check_all
from stress.outside import Outside
from stress.row import Row
from stress.scenario import Plan
from stress.witness import find_rows


@dataclass(frozen=True, slots=True)
class Judgement:
    """All rows and invariants of a root."""

    rows: tuple[Row, ...]
    invariants: tuple[Invariant, ...]

    @property
    def breaches(self) -> tuple[str, ...]:
        """The names of all rows and invariants that are breached."""
        rows = tuple(row.name for row in self.rows if row.breached)
        return rows + tuple(i.name for i in self.invariants if i.problems)


def judge(
    plan: Plan, evidence: Evidence, outsides: Sequence[Outside], *, lease_free: bool
) -> Judgement:
    """Judge a root at rest; arguments as ``check_all``."""
    return Judgement(
        find_rows(evidence, outsides, lock_held=plan.lock_held),
        check_all(plan, evidence, outsides, lease_free=lease_free),
    )

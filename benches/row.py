"""One line of the table: what, ours, the peer, their ratio, the goal."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benches.measure import Figures


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One result.

    Attributes:
        name: what was measured.
        peer: against what; "" for a figure that stands alone.
        unit: of ``ours`` and ``theirs``.
        value: what is held against the goal: a ratio, or ours where there is no peer.
        low, high: the smallest and the largest of its rounds.
        goal: the value must not be larger; None where it is only shown.
        skipped: why it could not be measured, "" where it was.
    """

    name: str
    peer: str = ""
    unit: str = ""
    ours: float = 0.0
    theirs: float = 0.0
    value: float = 0.0
    low: float = 0.0
    high: float = 0.0
    goal: float | None = None
    skipped: str = ""

    @property
    def is_met(self) -> bool | None:
        """None where there is no goal, or no figure."""
        return None if self.goal is None or self.skipped else self.value <= self.goal

    def to_json(self) -> dict[str, Any]:
        """As ``--json`` prints it."""
        names = ("name", "peer", "unit", "ours", "theirs", "value", "low", "high", "goal")
        return {n: getattr(self, n) for n in names} | {"met": self.is_met, "skipped": self.skipped}


def ratio_row(name: str, peer: str, unit: str, figures: Figures, goal: float | None) -> Row:
    """A row that holds a ratio against its goal."""
    return Row(
        name=name,
        peer=peer,
        unit=unit,
        ours=statistics.median(figures.ours),
        theirs=statistics.median(figures.peer),
        value=figures.ratio,
        low=min(figures.ratios),
        high=max(figures.ratios),
        goal=goal,
    )


def plain_row(name: str, unit: str, values: Sequence[float], goal: float | None) -> Row:
    """A row that holds a figure of ours against its goal."""
    middle = statistics.median(values)
    return Row(
        name=name,
        unit=unit,
        ours=middle,
        value=middle,
        low=min(values),
        high=max(values),
        goal=goal,
    )

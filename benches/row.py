"""One line of the table: what, ours, the peer, their ratio, the goal."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benches.measure import Figures


class Missing(Exception):
    """Something that a bench needs is not on this machine; its text says what."""


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
        return asdict(self) | {"met": self.is_met}


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One point of a line in a picture.

    Attributes:
        picture: which one, see ``curves``.
        side: whose line.
        x: how many.
        y: the median of its rounds, in the unit of the picture.
        low, high: the smallest and the largest.
    """

    picture: str
    side: str
    x: int
    y: float
    low: float
    high: float

    def to_json(self) -> dict[str, Any]:
        """As ``--json`` prints it."""
        return asdict(self)


def point(picture: str, side: str, x: int, values: Sequence[float]) -> Point:
    """The point of some rounds."""
    middle = statistics.median(values)
    return Point(picture=picture, side=side, x=x, y=middle, low=min(values), high=max(values))


def from_json(found: dict[str, Any]) -> Row:
    """The row that ``to_json`` wrote."""
    return Row(**{key: value for key, value in found.items() if key != "met"})


def ratio_row(name: str, peer: str, unit: str, figures: Figures, goal: float | None = None) -> Row:
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


def plain_row(name: str, unit: str, values: Sequence[float], goal: float | None = None) -> Row:
    """A row that holds a figure of ours against its goal: the median of its rounds."""
    return _plain(name, unit, statistics.median(values), values, goal)


def worst_row(name: str, unit: str, values: Sequence[float], goal: float | None = None) -> Row:
    """A row that holds the largest of its figures against its goal."""
    return _plain(name, unit, max(values), values, goal)


def _plain(name: str, unit: str, value: float, values: Sequence[float], goal: float | None) -> Row:
    return Row(
        name=name,
        unit=unit,
        ours=value,
        value=value,
        low=min(values),
        high=max(values),
        goal=goal,
    )

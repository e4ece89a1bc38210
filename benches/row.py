"""One row of the table: name, ours, the peer's, their ratio, the goal."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benches.measure import Figures


class Missing(Exception):
    """Something that a benchmark needs is not installed; the text names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One result.

    Attributes:
        name: what was measured.
        peer: the other program; "" for a figure without one.
        unit: of ``ours`` and ``theirs``.
        value: compared with the goal: the ratio, or our figure if there is no peer.
        low, high: the smallest and the largest of its rounds.
        goal: the largest allowed value; None if the value is only shown.
        skipped: the reason why it was not measured; "" if it was.
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
        """True if the goal is met; None without a goal or figure."""
        return None if self.goal is None or self.skipped else self.value <= self.goal

    def to_json(self) -> dict[str, Any]:
        """The object that ``--json`` prints."""
        return asdict(self) | {"met": self.is_met}


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One point of a curve.

    Attributes:
        picture: the name of the picture, see ``curves``.
        side: the program.
        x: the number of runs.
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
        """The object that ``--json`` prints."""
        return asdict(self)


def point(picture: str, side: str, x: int, values: Sequence[float]) -> Point:
    """The point of several rounds."""
    middle = statistics.median(values)
    return Point(picture=picture, side=side, x=x, y=middle, low=min(values), high=max(values))


def from_json(found: dict[str, Any]) -> Row:
    """Read a row written by ``to_json``."""
    return Row(**{key: value for key, value in found.items() if key != "met"})


def ratio_row(name: str, peer: str, unit: str, figures: Figures, goal: float | None = None) -> Row:
    """A row that compares a ratio with its goal."""
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
    """A row that compares the median of our rounds with its goal."""
    return _plain(name, unit, statistics.median(values), values, goal)


def worst_row(name: str, unit: str, values: Sequence[float], goal: float | None = None) -> Row:
    """A row that compares the largest of our rounds with its goal."""
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

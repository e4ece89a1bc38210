"""Lanes: queued runs that wait for the same things, sorted once, so that nobody looks at all.

A turn looks at the end of each lane, and there are few lanes: their number is bounded by the
groups. What waits for a predecessor or for a later instant stands in none.
"""

from bisect import bisect_left, insort
from typing import Final

from supervisor.core.lifecycle import Run
from workers.records.dataclass import dataclass

Place = tuple[int, int, str]
"""Priority, the negative number of acceptance, run id: the largest starts first."""


@dataclass(frozen=True, slots=True)
class Lane:
    """What a run's start depends on, beside its turn.

    Attributes:
        group: whose limit it counts against.
        waited_for: somebody's ``supervisor run`` waits for it.
        child: it runs within its parent's slot, and nothing holds it.
        nested_in: the run in one of whose stages it was asked for: that one lends it its place.
    """

    group: str | None
    waited_for: bool
    child: bool
    nested_in: str | None = None


CHILDREN: Final = Lane(None, waited_for=True, child=True)


def lane_of(run: Run) -> Lane:
    """Where a run stands."""
    if not run.needs_slot:
        return CHILDREN
    return Lane(run.group, run.waited_for, child=False, nested_in=run.nested_in)


def place_of(run: Run) -> Place:
    """Its place there."""
    return (run.priority, -run.number, run.run_id)


def enter(lanes: dict[Lane, list[Place]], run: Run) -> None:
    """Put a run into its lane."""
    insort(lanes.setdefault(lane_of(run), []), place_of(run))


def leave(lanes: dict[Lane, list[Place]], run: Run) -> None:
    """Take a run out of its lane."""
    lane, place = lane_of(run), place_of(run)
    places = lanes[lane]
    del places[bisect_left(places, place)]
    if not places:
        del lanes[lane]

"""Who may start: by priority, then in the order of acceptance, as long as there is room.

Room is a slot of ``max_runs``, and where the run has a group, one of the group's limit; a group
without a limit has none of its own. A run whose group is full is passed over, so that it holds up
nobody else. A sub-pipeline's run takes no slot: its parent waits within its own, so parents never
wait for each other's children.

A run nested in another (``supervisor run`` called in a stage) takes a slot like every other run if
there is one. If there is none, the outer run lends it its own, to one nested run at a time: the
outer run waits meanwhile, and without the loan both could wait for ever.
"""

from collections import Counter

from supervisor.core.fleet import Fleet
from supervisor.core.lanes import CHILDREN, Lane
from supervisor.core.lifecycle import LIVE, Run
from workers.records.dataclass import dataclass


@dataclass(frozen=True, slots=True)
class Admission:
    """A run that starts now.

    Attributes:
        on_loan: it takes the slot of the run that it is nested in.
    """

    run: Run
    on_loan: bool = False


def live_counts(fleet: Fleet) -> Counter[str | None]:
    """How many slots the live runs of each group take; those of no group under None."""
    return Counter(
        run.group
        for run in fleet.active.values()
        if run.needs_slot and not run.on_loan and isinstance(run.state, LIVE)
    )


def admitted(fleet: Fleet) -> list[Admission]:
    """The queued runs that start now, in the order in which they do."""
    found = [
        Admission(fleet.queued[run_id]) for *_, run_id in reversed(fleet.lanes.get(CHILDREN, ()))
    ]
    open_lanes = {
        lane: len(places)
        for lane, places in fleet.lanes.items()
        if not lane.child and fleet.is_open(lane)
    }
    if not open_lanes:
        return found
    room = _Room(fleet)
    while True:
        candidates = [
            (fleet.lanes[lane][left - 1], lane, on_loan)
            for lane, left in open_lanes.items()
            if left and (on_loan := room.offers(lane)) is not None
        ]
        if not candidates:
            return found
        (*_, run_id), lane, on_loan = max(candidates, key=lambda item: item[0])
        open_lanes[lane] -= 1
        room.take(lane, on_loan=on_loan)
        found.append(Admission(fleet.queued[run_id], on_loan))


class _Room:
    """What is free while one turn admits runs."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._counts = live_counts(fleet)
        self._free_count = fleet.max_runs - self._counts.total()
        loans = [r for r in fleet.active.values() if r.on_loan and isinstance(r.state, LIVE)]
        self._borrowed_from = {run.nested_in for run in loans}
        self._counts.update(run.group for run in loans if run.group not in self._shared(run))

    def _shared(self, nested: Run | Lane) -> tuple[str | None, ...]:
        """The group of the run that one is nested in: a loan takes no second place in it."""
        outer = self._fleet.active.get(nested.nested_in or "")
        return (None,) if outer is None else (None, outer.group)

    def _has_room(self, group: str | None) -> bool:
        return self._counts[group] < self._fleet.limit_of(group) or group is None

    def offers(self, lane: Lane) -> bool | None:
        """Tell whether the next run of a lane may start: False in a free slot, True on loan."""
        if self._free_count > 0 and self._has_room(lane.group):
            return False
        may_borrow = (
            lane.nested_in is not None
            and lane.nested_in not in self._borrowed_from
            and self._fleet.lends(lane.nested_in)
            and (lane.group in self._shared(lane) or self._has_room(lane.group))
        )
        return True if may_borrow else None

    def take(self, lane: Lane, *, on_loan: bool) -> None:
        """A run of a lane starts."""
        if on_loan:
            self._borrowed_from.add(lane.nested_in)
        else:
            self._free_count -= 1
        if not on_loan or lane.group not in self._shared(lane):
            self._counts[lane.group] += 1

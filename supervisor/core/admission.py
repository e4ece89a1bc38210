"""Which queued runs start: by priority, then in the order of acceptance, while there is room.

A run needs one of ``max_runs`` slots and, if its group has a limit, a free place in the group. Runs
of a full group are passed over, so they delay nobody else. A sub-pipeline's run takes no slot: its
parent waits within its own, so parents never wait for each other's children.

A run nested in another (``supervisor run`` called in a stage) takes a slot like every other run if
one is free. If none is, the outer run lends it its own, to one nested run at a time: the outer run
waits for it, and without the loan both could wait for ever.
"""

from collections import Counter

from supervisor.core.fleet import Fleet
from supervisor.core.lifecycle import LIVE, Run
from supervisor.core.queue import CHILDREN, Lane
from workers.records.dataclass import dataclass


@dataclass(frozen=True, slots=True)
class Admission:
    """A run that starts now; ``on_loan``: in the slot of the run that it is nested in."""

    run: Run
    on_loan: bool = False


def live_counts(fleet: Fleet) -> Counter[str | None]:
    """How many slots the live runs of each group take; runs without a group count under None."""
    return Counter(
        run.group
        for run in fleet.active.values()
        if run.needs_slot and not run.on_loan and isinstance(run.state, LIVE)
    )


def admitted(fleet: Fleet) -> list[Admission]:
    """The queued runs that start now, in the order in which they start."""
    admissions = [
        Admission(fleet.queued[run_id]) for *_, run_id in reversed(fleet.lanes.get(CHILDREN, ()))
    ]
    open_lanes = {
        lane: len(positions)
        for lane, positions in fleet.lanes.items()
        if not lane.child and fleet.is_open(lane)
    }
    if not open_lanes:
        return admissions
    room = _Room(fleet)
    while True:
        candidates = [
            (fleet.lanes[lane][left - 1], lane, on_loan)
            for lane, left in open_lanes.items()
            if left and (on_loan := room.needs_loan(lane)) is not None
        ]
        if not candidates:
            return admissions
        (*_, run_id), lane, on_loan = max(candidates, key=lambda item: item[0])
        open_lanes[lane] -= 1
        room.take(lane, on_loan=on_loan)
        admissions.append(Admission(fleet.queued[run_id], on_loan))


class _Room:
    """The free slots while one turn admits runs."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._counts = live_counts(fleet)
        self._free_count = fleet.max_runs - self._counts.total()
        loans = [r for r in fleet.active.values() if r.on_loan and isinstance(r.state, LIVE)]
        self._lenders = {run.nested_in for run in loans}
        self._counts.update(run.group for run in loans if run.group not in self._shared(run))

    def _shared(self, nested: Run | Lane) -> tuple[str | None, ...]:
        """The groups in which a run on loan takes no second place: that of its outer run."""
        outer = self._fleet.active.get(nested.nested_in or "")
        return (None,) if outer is None else (None, outer.group)

    def _has_room(self, group: str | None) -> bool:
        return self._counts[group] < self._fleet.limit_of(group) or group is None

    def needs_loan(self, lane: Lane) -> bool | None:
        """Whether the next run of a lane can start only on loan; None if it cannot start at all."""
        if self._free_count > 0 and self._has_room(lane.group):
            return False
        may_borrow = (
            lane.nested_in is not None
            and lane.nested_in not in self._lenders
            and self._fleet.lends_slot(lane.nested_in)
            and (lane.group in self._shared(lane) or self._has_room(lane.group))
        )
        return True if may_borrow else None

    def take(self, lane: Lane, *, on_loan: bool) -> None:
        """A run of a lane starts."""
        if on_loan:
            self._lenders.add(lane.nested_in)
        else:
            self._free_count -= 1
        if not on_loan or lane.group not in self._shared(lane):
            self._counts[lane.group] += 1

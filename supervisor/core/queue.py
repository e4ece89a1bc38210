"""The queue: each queued run waits in a lane, for an instant, or for other runs.

A lane holds the runs that wait for the same things, sorted. A turn reads only the end of each lane,
and the number of groups bounds the number of lanes. A run that waits for a dependency or for its
launch to be retried is in no lane.
"""

from bisect import bisect_left, insort
from collections.abc import Mapping, Sequence
from typing import Final

from supervisor.core.lifecycle import Queued, Run
from workers.records.dataclass import dataclass

Position = tuple[int, int, str]
"""Priority, the negative number of acceptance, run id: the largest starts first."""


@dataclass(frozen=True, slots=True)
class Lane:
    """What a run's start depends on, other than its position.

    Attributes:
        group: whose limit it counts against.
        waited_for: a ``supervisor run`` waits for it.
        child: it runs within its parent's slot, and no pause applies to it.
        nested_in: the run in one of whose stages it was submitted, and that lends it its slot.
    """

    group: str | None
    waited_for: bool
    child: bool
    nested_in: str | None = None


CHILDREN: Final = Lane(None, waited_for=True, child=True)


def lane_of(run: Run) -> Lane:
    """The lane of a run."""
    if not run.needs_slot:
        return CHILDREN
    return Lane(run.group, run.waited_for, child=False, nested_in=run.nested_in)


def _position(run: Run) -> Position:
    return (run.priority, -run.number, run.run_id)


class Queue:
    """The queued runs of a draft, copied from those of a fleet; the arguments are as in Fleet."""

    def __init__(
        self,
        runs: Mapping[str, Run],
        *,
        lanes: Mapping[Lane, Sequence[Position]],
        delayed: Mapping[str, float],
        dependents: Mapping[str, tuple[str, ...]],
    ) -> None:
        self.runs = dict(runs)
        self.lanes = {lane: list(positions) for lane, positions in lanes.items()}
        self.delayed = dict(delayed)
        self.dependents = dict(dependents)

    def add(self, run: Run) -> None:
        """Queue a run."""
        self.runs[run.run_id] = run
        if run.dependencies:
            for dependency_id in run.dependencies:
                others = self.dependents.get(dependency_id, ())
                self.dependents[dependency_id] = (*others, run.run_id)
        elif isinstance(run.state, Queued) and run.state.launches_count:
            self.delayed[run.run_id] = run.state.not_before_mono_s
        else:
            self._enter_lane(run)

    def remove(self, run_id: str) -> None:
        """Remove a run."""
        run = self.runs.pop(run_id)
        if run.dependencies:
            for dependency_id in run.dependencies:
                others = tuple(n for n in self.dependents[dependency_id] if n != run_id)
                self.dependents[dependency_id] = others
                if not others:
                    del self.dependents[dependency_id]
        elif run_id in self.delayed:
            del self.delayed[run_id]
        else:
            lane, position = lane_of(run), _position(run)
            positions = self.lanes[lane]
            del positions[bisect_left(positions, position)]
            if not positions:
                del self.lanes[lane]

    def release(self, run_id: str) -> None:
        """Move a run whose delay is over into its lane."""
        del self.delayed[run_id]
        self._enter_lane(self.runs[run_id])

    def _enter_lane(self, run: Run) -> None:
        insort(self.lanes.setdefault(lane_of(run), []), _position(run))

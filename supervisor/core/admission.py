"""Who may start: by priority, then in the order of acceptance, as long as there is room.

Room is a slot of ``max_runs``, and where the run has a group, one of the group's limit; a group
without a limit has none of its own. A run whose group is full is passed over, so that it holds up
nobody else. A sub-pipeline's run takes no slot: its parent waits within its own, so parents never
wait for each other's children.
"""

from collections import Counter

from supervisor.core.fleet import Fleet
from supervisor.core.lanes import CHILDREN
from supervisor.core.lifecycle import LIVE, Run


def live_counts(fleet: Fleet) -> Counter[str | None]:
    """How many slots the live runs of each group take; those of no group under None."""
    return Counter(
        run.group for run in fleet.active.values() if run.needs_slot and isinstance(run.state, LIVE)
    )


def admitted(fleet: Fleet) -> list[Run]:
    """The queued runs that start now, in the order in which they do."""
    found = [fleet.queued[run_id] for *_, run_id in reversed(fleet.lanes.get(CHILDREN, ()))]
    open_lanes = {
        lane: len(places)
        for lane, places in fleet.lanes.items()
        if not lane.child and fleet.is_open(lane)
    }
    if not open_lanes:
        return found
    counts = live_counts(fleet)
    free = fleet.max_runs - counts.total()
    while free > 0:
        lanes_with_room = [
            (fleet.lanes[lane][left - 1], lane)
            for lane, left in open_lanes.items()
            if left and counts[lane.group] < fleet.limit_of(lane.group)
        ]
        if not lanes_with_room:
            break
        (*_, run_id), lane = max(lanes_with_room, key=lambda item: item[0])
        open_lanes[lane] -= 1
        counts[lane.group] += 1
        free -= 1
        found.append(fleet.queued[run_id])
    return found

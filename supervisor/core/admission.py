"""Who may start: in the order of acceptance, as long as there are slots.

A sub-pipeline's run takes no slot: its parent waits within its own, so parents never wait for each
other's children.
"""

from supervisor.core.fleet import Fleet
from supervisor.core.lifecycle import LIVE, Queued, Run


def admitted(fleet: Fleet, now_mono_s: float) -> list[Run]:
    """The queued runs that start now.

    Args:
        fleet: all runs.
        now_mono_s: this instant on the monotonic clock.

    Returns:
        Runs in the order of acceptance.
    """
    taken = sum(1 for r in fleet.active.values() if r.needs_slot and isinstance(r.state, LIVE))
    free = fleet.max_runs - taken
    found = []
    for run in fleet.queued.values():
        waits = isinstance(run.state, Queued) and run.state.not_before_mono_s > now_mono_s
        if waits or not fleet.can_start(run) or (run.needs_slot and free <= 0):
            continue
        found.append(run)
        free -= run.needs_slot
    return found

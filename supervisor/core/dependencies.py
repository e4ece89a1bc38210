"""Runs that start after another one succeeded, and are cancelled where it did not.

A run can only name runs that were there when it was asked for, so there are no circles. The verdict
that is on disk decides, so whoever decides again after a crash decides the same.
"""

from supervisor.core.fleet import Draft
from supervisor.core.lifecycle import Ended, Judged, Move, Queued, Recorded, Run

SUCCEEDED = "succeeded"


def ended(draft: Draft, run_id: str, status: str) -> None:
    """A run has its verdict: whoever follows it goes on, or ends."""
    for follower_id in draft.dependents.get(run_id, ()):
        follower = draft.find(follower_id)
        if follower is not None:
            _settle(draft, follower, run_id, status)


def queued(draft: Draft, run: Run, told: dict[str, str]) -> None:
    """A run was put into the queue: look at what it follows.

    Args:
        draft: the next fleet.
        run: as it was put there.
        told: the statuses of runs that ended before we knew them.
    """
    for leader_id in run.dependencies:
        leader = draft.find(leader_id)
        status = told.get(leader_id)
        if leader is not None:
            state = leader.state
            status = state.status if isinstance(state, Ended | Recorded) else None
        now = draft.find(run.run_id)
        if status is not None and now is not None:
            _settle(draft, now, leader_id, status)
    if run.waited_for:
        _serve(draft, run)


def _settle(draft: Draft, run: Run, leader_id: str, status: str) -> None:
    if not isinstance(run.state, Queued):
        return
    if status == SUCCEEDED:
        left = tuple(run_id for run_id in run.dependencies if run_id != leader_id)
        draft.change(run, dependencies=left)
        return
    judged = Judged(
        status="cancelled",
        detail=f"after:{leader_id}:{status}",
        reason=f"it was to start after {leader_id} succeeded, which is {status}",
    )
    draft.move(run, Move.JUDGE, judged)


def _serve(draft: Draft, run: Run) -> None:
    """Whoever waits for a run waits for what it follows, too."""
    todo = list(run.dependencies)
    while todo:
        leader = draft.find(todo.pop())
        if leader is not None and not leader.waited_for:
            draft.change(leader, waited_for=True)
            todo += leader.dependencies

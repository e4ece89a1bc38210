"""Runs that start after other runs succeeded, and are cancelled if one of them did not.

A run can only name runs that were accepted before it, so there are no circles. The verdict on disk
decides, so a decision that is made again after a crash is the same.
"""

from supervisor.core.fleet import Draft
from supervisor.core.lifecycle import Ended, Judged, Move, Queued, Recorded, Run

SUCCEEDED = "succeeded"


def ended(draft: Draft, run_id: str, status: str) -> None:
    """A run has its verdict: release or cancel its dependents."""
    for dependent_id in draft.dependents.get(run_id, ()):
        dependent = draft.find(dependent_id)
        if dependent is not None:
            _resolve(draft, dependent, run_id, status)


def queued(draft: Draft, run: Run, past: dict[str, str]) -> None:
    """A run was queued: resolve those of its dependencies that have ended.

    Args:
        draft: the next fleet.
        run: as it was queued.
        past: the final statuses of dependencies that are not in the fleet.
    """
    for dependency_id in run.dependencies:
        dependency = draft.find(dependency_id)
        status = past.get(dependency_id)
        if dependency is not None:
            state = dependency.state
            status = state.status if isinstance(state, Ended | Recorded) else None
        now = draft.find(run.run_id)
        if status is not None and now is not None:
            _resolve(draft, now, dependency_id, status)
    if run.waited_for:
        _mark_waited_for(draft, run)


def _resolve(draft: Draft, run: Run, dependency_id: str, status: str) -> None:
    if not isinstance(run.state, Queued):
        return
    if status == SUCCEEDED:
        left = tuple(run_id for run_id in run.dependencies if run_id != dependency_id)
        draft.change(run, dependencies=left)
        return
    judged = Judged(
        status="cancelled",
        detail=f"after:{dependency_id}:{status}",
        reason=f"it was to start after {dependency_id} succeeded, which is {status}",
    )
    draft.move(run, Move.JUDGE, judged)


def _mark_waited_for(draft: Draft, run: Run) -> None:
    """A caller that waits for a run also waits for its dependencies, and for theirs."""
    todo = list(run.dependencies)
    while todo:
        dependency = draft.find(todo.pop())
        if dependency is not None and not dependency.waited_for:
            draft.change(dependency, waited_for=True)
            todo += dependency.dependencies

"""The queue of one turn: each run stands in a lane, or waits for an instant, or for other runs."""

from collections.abc import Mapping, Sequence

from supervisor.core.lanes import Lane, Place, enter, leave
from supervisor.core.lifecycle import Queued, Run


class Queue:
    """The queued runs of a draft, copied from those of a fleet.

    Args:
        runs: by run id.
        lanes: those that could start now, but for room.
        delayed: those that wait to be launched again, and until when.
        dependents: those that wait for another one to succeed, by that one's run id.
    """

    def __init__(
        self,
        runs: Mapping[str, Run],
        *,
        lanes: Mapping[Lane, Sequence[Place]],
        delayed: Mapping[str, float],
        dependents: Mapping[str, tuple[str, ...]],
    ) -> None:
        self.runs = dict(runs)
        self.lanes = {lane: list(places) for lane, places in lanes.items()}
        self.delayed = dict(delayed)
        self.dependents = dict(dependents)

    def add(self, run: Run) -> None:
        """Let a run wait for what it has to wait for."""
        self.runs[run.run_id] = run
        if run.dependencies:
            for leader_id in run.dependencies:
                others = self.dependents.get(leader_id, ())
                self.dependents[leader_id] = (*others, run.run_id)
        elif isinstance(run.state, Queued) and run.state.launches_count:
            self.delayed[run.run_id] = run.state.not_before_mono_s
        else:
            enter(self.lanes, run)

    def remove(self, run_id: str) -> None:
        """Let a run wait no more."""
        run = self.runs.pop(run_id)
        if run.dependencies:
            for leader_id in run.dependencies:
                others = tuple(n for n in self.dependents[leader_id] if n != run_id)
                self.dependents[leader_id] = others
                if not others:
                    del self.dependents[leader_id]
        elif run_id in self.delayed:
            del self.delayed[run_id]
        else:
            leave(self.lanes, run)

    def release(self, run_id: str) -> None:
        """Let a run that waited for an instant stand in its lane."""
        del self.delayed[run_id]
        enter(self.lanes, self.runs[run_id])

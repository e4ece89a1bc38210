"""The stream of facts of many runs, each fact once and those of a run in their order."""

import os
from collections.abc import Iterable, Iterator
from heapq import merge
from typing import Any

from supervisor.report.read.journal_follower import JournalFollower
from supervisor.store.root_listing import active_ids, tasks
from workers.records.history import read_lines
from workers.records.ids import is_run_id
from workers.records.journal import Fact
from workers.records.layout import Layout
from workers.records.typed_errors import TypedError

RunFact = tuple[str, str, Fact]  # task id, run id, fact


class RunFacts:
    """The facts of some runs.

    Args:
        layout: the root.
        runs: task id and run id of each.
    """

    def __init__(self, layout: Layout, runs: Iterable[tuple[str, str]]) -> None:
        self._layout = layout
        self._open: dict[tuple[str, str], JournalFollower] = {}
        self.follow(runs)

    def follow(self, runs: Iterable[tuple[str, str]]) -> None:
        """Follow these runs, too."""
        for task_id, run_id in runs:
            journal = self._layout.run_dir(task_id, run_id).journal
            self._open.setdefault((task_id, run_id), JournalFollower(journal))

    @property
    def is_done(self) -> bool:
        """Every run has ended, or had a directory that is gone."""
        return not self._open

    def read_new(self) -> list[RunFact]:
        """What came since the last call: a run's facts in order, runs side by side by time."""
        found: list[list[RunFact]] = []
        for (task_id, run_id), follower in list(self._open.items()):
            found.append([(task_id, run_id, fact) for fact in follower.read_new()])
            gone = follower.has_begun and not os.path.isdir(
                self._layout.run_dir(task_id, run_id).path
            )
            if follower.verdict is not None or gone:
                del self._open[task_id, run_id]
        return list(merge(*found, key=lambda told: told[2].at))


class RootFacts:
    """The facts of all runs of a root, from its active ones on.

    A run that is accepted and over between two looks has no marker any more when we look; it is
    found by its line in the history.

    Args:
        layout: the root.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._known: set[str] = set()  # followed or told, and not yet out of the books
        self._recorded: set[str] = set()  # of those: their history line was read
        self._ends: dict[str, int] = {}
        self._sizes: dict[str, int] = {}
        for task_id in tasks(layout):
            self._skip(task_id)
        self._stream = RunFacts(layout, ())
        self._look()

    def read_new(self) -> list[RunFact]:
        """What came since the last call; order as RunStream."""
        found = self._stream.read_new()
        self._look()
        return [*found, *self._stream.read_new()]

    def _look(self) -> None:
        recorded = frozenset(self._recorded)  # before we looked who is active
        active = active_ids(self._layout)
        runs = [(task_id, run_id) for run_id, task_id in active.items()]
        for task_id in tasks(self._layout):
            finished = [(task_id, run_id) for run_id in self._finished(task_id)]
            self._recorded |= {run_id for _, run_id in finished}
            runs += finished
        new = [run for run in runs if run[1] not in self._known]
        self._stream.follow(new)
        self._known |= {run_id for _, run_id in new}
        # One that is recorded since may still be in the books, and would look new the next time.
        over = recorded.difference(active)
        self._known -= over
        self._recorded -= over

    def _skip(self, task_id: str) -> None:
        self._ends[task_id] = self._sizes[task_id] = self._size(task_id)

    def _size(self, task_id: str) -> int:
        try:
            return os.stat(self._layout.history(task_id), follow_symlinks=False).st_size
        except OSError:
            return 0

    def _finished(self, task_id: str) -> Iterator[str]:
        size = self._size(task_id)
        if size == self._sizes.get(task_id, 0):
            return
        self._sizes[task_id] = size
        try:
            for end, line in read_lines(self._layout.history(task_id), self._ends.get(task_id, 0)):
                self._ends[task_id] = end
                run_id = line.get("runId")
                if isinstance(run_id, str) and is_run_id(run_id):
                    yield run_id
        except (OSError, TypedError):
            return


def fact_json(told: RunFact) -> dict[str, Any]:
    """A fact as ``events`` prints it: when, what and whose, then the journal's other keys."""
    task_id, run_id, fact = told
    head: dict[str, Any] = {
        "at": fact.at,
        "event": fact.event,
        "run_id": run_id,
        "task_id": task_id,
    }
    head |= {"seq": fact.seq, "mono_s": fact.mono_s, "by": fact.by}
    return head | {key: value for key, value in fact.data.items() if key not in head}

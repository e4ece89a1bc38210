"""Follow the journals of one run, of some runs, or of a whole root: each fact once.

A journal may be replaced under its reader by another file with the same facts: after a failed flush
and when a supervisor restores a missing one. The reader then starts again at the beginning and
skips the facts that it has returned.
"""

import os
from collections.abc import Iterable, Iterator
from heapq import merge
from typing import Any

from supervisor.store.root_listing import active_ids, tasks
from workers.records.history import read_lines
from workers.records.ids import is_run_id
from workers.records.journal import Event, Fact, JournalReader
from workers.records.layout import Layout
from workers.records.typed_errors import TypedError

RunFact = tuple[str, str, Fact]  # task id, run id, fact


class JournalFollower:
    """Follows one journal, which may not exist yet. Never locks; reads only what has changed.

    Attributes:
        verdict: the verdict, once it was read; no facts are returned after it.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._reader = JournalReader(path)
        self._version = (0, 0, 0)
        self._last_seq = 0
        self.verdict: Fact | None = None

    @property
    def has_begun(self) -> bool:
        """A fact was read."""
        return self._last_seq > 0

    def read_new(self) -> list[Fact]:
        """The facts since the last call, in order; none if the journal cannot be read."""
        if self.verdict is not None:
            return []
        try:
            status = os.stat(self._path, follow_symlinks=False)
            version = (status.st_ino, status.st_size, status.st_mtime_ns)
            if version == self._version:
                return []
            if version[0] != self._version[0] or version[1] < self._version[1]:
                self._reader = JournalReader(self._path)
            self._version = version
            facts = self._reader.read_new()
        except (OSError, TypedError):
            return []
        new = []
        for fact in facts:
            if fact.seq <= self._last_seq:
                continue
            self._last_seq = fact.seq
            new.append(fact)
            if fact.event == Event.VERDICT:
                self.verdict = fact
                break
        return new


class RunFacts:
    """The facts of some runs, each given by task id and run id."""

    def __init__(self, layout: Layout, runs: Iterable[tuple[str, str]]) -> None:
        self._layout = layout
        self._open: dict[tuple[str, str], JournalFollower] = {}
        self.follow(runs)

    def follow(self, runs: Iterable[tuple[str, str]]) -> None:
        """Follow these runs as well."""
        for task_id, run_id in runs:
            journal = self._layout.run_dir(task_id, run_id).journal
            self._open.setdefault((task_id, run_id), JournalFollower(journal))

    @property
    def is_done(self) -> bool:
        """Every run has its verdict, or its directory was deleted."""
        return not self._open

    def read_new(self) -> list[RunFact]:
        """The facts since the last call: in order within a run, by time between runs."""
        by_run: list[list[RunFact]] = []
        for (task_id, run_id), follower in list(self._open.items()):
            by_run.append([(task_id, run_id, fact) for fact in follower.read_new()])
            is_deleted = follower.has_begun and not os.path.isdir(
                self._layout.run_dir(task_id, run_id).path
            )
            if follower.verdict is not None or is_deleted:
                del self._open[task_id, run_id]
        return list(merge(*by_run, key=lambda item: item[2].at))


class RootFacts:
    """The facts of all runs of a root that are active now or accepted later.

    A run that is accepted and finished between two scans has no marker any more; its line in the
    history reveals it.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._known: set[str] = set()  # followed, and not yet seen both recorded and inactive
        self._recorded: set[str] = set()  # those of them whose history line was read
        self._offsets: dict[str, int] = {}
        self._sizes: dict[str, int] = {}
        for task_id in tasks(layout):
            self._offsets[task_id] = self._sizes[task_id] = self._history_size(task_id)
        self._facts = RunFacts(layout, ())
        self._scan()

    def read_new(self) -> list[RunFact]:
        """The facts since the last call; order as RunFacts."""
        facts = self._facts.read_new()
        self._scan()
        return [*facts, *self._facts.read_new()]

    def _scan(self) -> None:
        recorded = frozenset(self._recorded)  # taken before the scan of the active runs
        active = active_ids(self._layout)
        runs = [(task_id, run_id) for run_id, task_id in active.items()]
        for task_id in tasks(self._layout):
            finished = [(task_id, run_id) for run_id in self._newly_finished(task_id)]
            self._recorded |= {run_id for _, run_id in finished}
            runs += finished
        new = [run for run in runs if run[1] not in self._known]
        self._facts.follow(new)
        self._known |= {run_id for _, run_id in new}
        # A run recorded during this scan may still have its marker at the next one: keep it known.
        ended = recorded.difference(active)
        self._known -= ended
        self._recorded -= ended

    def _history_size(self, task_id: str) -> int:
        try:
            return os.stat(self._layout.history(task_id), follow_symlinks=False).st_size
        except OSError:
            return 0

    def _newly_finished(self, task_id: str) -> Iterator[str]:
        size = self._history_size(task_id)
        if size == self._sizes.get(task_id, 0):
            return
        self._sizes[task_id] = size
        history, offset = self._layout.history(task_id), self._offsets.get(task_id, 0)
        try:
            for end, line in read_lines(history, offset):
                self._offsets[task_id] = end
                run_id = line.get("runId")
                if isinstance(run_id, str) and is_run_id(run_id):
                    yield run_id
        except (OSError, TypedError):
            return


def fact_json(item: RunFact) -> dict[str, Any]:
    """A fact as ``events`` prints it: the run's ids, then the journal's other keys."""
    task_id, run_id, fact = item
    head: dict[str, Any] = {
        "at": fact.at,
        "event": fact.event,
        "run_id": run_id,
        "task_id": task_id,
        "seq": fact.seq,
        "mono_s": fact.mono_s,
        "by": fact.by,
    }
    return head | {key: value for key, value in fact.data.items() if key not in head}

"""The fleet: all runs that are not yet in history and state, as one value, and a draft of the next.

Queued runs and active runs are kept apart, and the queued ones stand sorted in lanes, so that a
turn costs what is alive and not what waits: the queue is copied by the turns that change it, and
looked through by none. A ``Draft`` lives inside one ``step`` only; it exists so that a turn with
many stimuli copies the fleet once.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, replace
from enum import StrEnum
from typing import Any

from supervisor.core.actions import Action
from supervisor.core.lanes import CHILDREN, Lane, Place, lane_of
from supervisor.core.lifecycle import (
    Ended,
    Judged,
    Move,
    Queued,
    Recorded,
    Run,
    Running,
    Starting,
    State,
    check,
    next_story,
)
from supervisor.core.pauses import Pauses
from supervisor.core.policy.backoff import Backoff
from supervisor.core.policy.liveness import Ages, Liveness
from supervisor.core.queue import Queue
from workers.records.dataclass import dataclass


class Mode(StrEnum):
    """What the supervisor does with queued runs."""

    SERVING = "serving"
    DRAINING = "draining"
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The settings that decisions need; times in seconds.

    Attributes:
        stop_margin_s: beyond ``grace_s``, how long a stopping worker may take to write its verdict
            (it looks for what it killed for up to 10 s) before it is killed itself.
        remote_margin_s: the same for a worker on another host: both directions may be a minute late
            (NFS caches a directory for acdirmax, 60 s).
        clear_within_s: how long killing may take before the verdict is written with what is left.
        clear_first_s: between the first two rounds of it; then as long again as it has taken so
            far, ``clear_every_s`` at most; ``leftovers_every_s`` once the verdict is written.
        give_up_s: how long the killing goes on in all: what survives SIGKILL this long is left to
            the kernel, which ends it as soon as it can (as ``containment.GIVE_UP_S``).
        owed_retry_s: between attempts at the lock of a task whose snapshot is owed.
    """

    lock: Backoff
    launch: Backoff
    ages: Ages
    grace_s: float
    manifest_throttle_s: float
    stop_margin_s: float = 12.0
    remote_margin_s: float = 90.0
    clear_within_s: float = 1.0
    clear_first_s: float = 0.002
    clear_every_s: float = 0.05
    leftovers_every_s: float = 0.5
    give_up_s: float = 10.0
    owed_retry_s: float = 0.5
    record_retry_s: float = 1.0

    def stopping_s(self, run: Run) -> float:
        """How long a run may take to end once it was asked to."""
        return self.grace_s + (self.stop_margin_s if run.host is None else self.remote_margin_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What is due to one task's state.

    Attributes:
        due_mono_s: when to try next.
        failures_count: tries that failed since the last success.
        owed: the bounded tries are used up.
        reason: why the last try failed.
    """

    due_mono_s: float
    failures_count: int = 0
    owed: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """All runs known.

    Attributes:
        groups: the limit of each concurrency group; one that is not in it limits nothing.
        pauses: what the operator has paused.
        queued: by run id.
        lanes: the queued runs that could start now, but for room.
        delayed: the queued runs that wait to be launched again, and until when.
        dependents: the queued runs that wait for another one to succeed, by that one's run id.
        accepted_count: how many runs were ever queued.
        active: by run id, every other state.
        busy: the active runs that do not just run and are on time: of the others nothing can fall
            due but a manifest.
        beats: by run id, when a heartbeat was last seen to move, on our monotonic clock. Apart from
            the runs, as the next two are: so what is usual costs a number, and no new run.
        due: by run id, from when on its manifest may be written for a beat alone.
        tried: by run id, when that was last tried for a beat alone, or done for any reason.
        snapshots: by task id, where the state on disk lacks a recorded run.
        only_waited_for: serve only the runs that a ``supervisor run`` waits for.
    """

    max_runs: int
    groups: Mapping[str, int] = field(default_factory=dict)
    pauses: Pauses = field(default_factory=Pauses)
    mode: Mode = Mode.SERVING
    only_waited_for: bool = False
    queued: Mapping[str, Run] = field(default_factory=dict)
    lanes: Mapping[Lane, Sequence[Place]] = field(default_factory=dict)
    delayed: Mapping[str, float] = field(default_factory=dict)
    dependents: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    accepted_count: int = 0
    active: Mapping[str, Run] = field(default_factory=dict)
    busy: Mapping[str, None] = field(default_factory=dict)
    beats: Mapping[str, float] = field(default_factory=dict)
    due: Mapping[str, float] = field(default_factory=dict)
    tried: Mapping[str, float] = field(default_factory=dict)
    snapshots: Mapping[str, Snapshot] = field(default_factory=dict)

    def find(self, run_id: str) -> Run | None:
        """The run, or None where the fleet does not hold it."""
        return self.active.get(run_id) or self.queued.get(run_id)

    def runs(self) -> Iterator[Run]:
        """Active runs, then queued ones."""
        yield from self.active.values()
        yield from self.queued.values()

    def waits_for_disk_only(self) -> bool:
        """Tell whether nothing runs: what is left wants writing, and was refused so far."""
        return all(
            (isinstance(r.state, Recorded) or r.refused is not None) and not r.remains
            for r in self.active.values()
        )

    def at_work(self) -> list[str]:
        """The runs that have, or are about to have, a worker and no verdict yet."""
        ended = (Judged, Ended, Recorded)
        return [r.run_id for r in self.active.values() if not isinstance(r.state, ended)]

    def unwritten(self) -> dict[str, str]:
        """The runs whose result the disk refuses, and why."""
        return {r.run_id: r.refused for r in self.active.values() if r.refused is not None}

    def limit_of(self, group: str | None) -> int:
        """How many runs of a group may be live at once."""
        return self.max_runs if group is None else self.groups.get(group, self.max_runs)

    def serves(self, lane: Lane) -> bool:
        """Tell whether runs of a lane start at all in this mode, room and pauses aside."""
        if lane.child or self.lends(lane.nested_in):
            return True
        if self.mode is not Mode.SERVING:
            return False
        return lane.waited_for or not self.only_waited_for

    def is_open(self, lane: Lane) -> bool:
        """Tell whether runs of a lane may start now, room aside."""
        within = lane.child or self.lends(lane.nested_in)
        return self.serves(lane) and (within or not self.pauses.is_paused(lane.group))

    def lends(self, run_id: str | None) -> bool:
        """Tell whether a run is at work and waits in its place for the runs nested in it."""
        run = None if run_id is None else self.active.get(run_id)
        return run is not None and isinstance(run.state, Starting | Running)

    def has_more_to_start(self) -> bool:
        """Tell whether queued runs are going to start by and by, those that are paused included.

        What follows another run does not count: that one does, as long as it is in the fleet.
        """
        delayed = (lane_of(self.queued[run_id]) for run_id in self.delayed)
        return any(self.serves(lane) for lane in (*self.lanes, *delayed))

    def paused_count(self) -> int:
        """How many queued runs would be served if nothing were paused."""
        return sum(
            len(places)
            for lane, places in self.lanes.items()
            if self.serves(lane) and not self.is_open(lane)
        )


class Draft:
    """The next fleet while it is being made, and the actions that lead there."""

    def __init__(self, fleet: Fleet, *, now_mono_s: float, rules: Rules) -> None:
        self._base = fleet
        self.now = now_mono_s
        self.rules = rules
        self.mode = fleet.mode
        self.max_runs = fleet.max_runs
        self.groups = fleet.groups
        self.pauses = fleet.pauses
        self.accepted_count = fleet.accepted_count
        self.queued: Mapping[str, Run] = fleet.queued
        self.delayed: Mapping[str, float] = fleet.delayed
        self.dependents: Mapping[str, tuple[str, ...]] = fleet.dependents
        self._queue: Queue | None = None
        self.active: Mapping[str, Run] = fleet.active
        self._own_active: dict[str, Run] | None = None
        self.busy = dict(fleet.busy)
        self.beats = dict(fleet.beats)
        self.due = dict(fleet.due)
        self.tried = dict(fleet.tried)
        self.snapshots = dict(fleet.snapshots)
        self.actions: list[Action] = []

    def find(self, run_id: str) -> Run | None:
        """The run as it is now, or None."""
        return self.active.get(run_id) or self.queued.get(run_id)

    def put(self, run: Run) -> Run:
        """Keep a run under its id, on the side where its state belongs."""
        if run.run_id in self.queued:
            self._own_queue().remove(run.run_id)
        if isinstance(run.state, Queued):
            self._withdraw(run.run_id)
            self._own_queue().add(run)
            return run
        self._own()[run.run_id] = run
        self.due.setdefault(run.run_id, 0.0)
        if type(run.state) is Running and run.liveness is Liveness.FRESH and not run.remains:
            self.busy.pop(run.run_id, None)
        else:
            self.busy[run.run_id] = None
        return run

    def _withdraw(self, run_id: str) -> None:
        """Let a run be active no more."""
        if run_id in self.active:
            del self._own()[run_id]
            for book in (self.busy, self.beats, self.due, self.tried):
                book.pop(run_id, None)

    def _own(self) -> dict[str, Run]:
        """The active runs, copied when the first of them changes."""
        if self._own_active is None:
            self.active = self._own_active = dict(self._base.active)
        return self._own_active

    def _own_queue(self) -> Queue:
        """The queue, copied when it is first changed."""
        base = self._base
        if self._queue is None:
            self._queue = Queue(
                base.queued, lanes=base.lanes, delayed=base.delayed, dependents=base.dependents
            )
            self.queued, self.delayed = self._queue.runs, self._queue.delayed
            self.dependents = self._queue.dependents
        return self._queue

    def join(self, run: Run) -> Run:
        """Put a run that is new at the end of the queue."""
        self.accepted_count += 1
        return self.put(replace(run, number=self.accepted_count))

    def release_delayed(self) -> None:
        """Let those whose wait is over stand in their lanes again."""
        for run_id in [name for name, until in self.delayed.items() if until <= self.now]:
            self._own_queue().release(run_id)

    def children_of(self, run_id: str) -> list[Run]:
        """The runs that a run's stages asked for."""
        waiting = [name for *_, name in self._lanes().get(CHILDREN, ())]
        queued = (self.queued[name] for name in (*waiting, *self.delayed))
        return [run for run in (*self.active.values(), *queued) if run.parent_run_id == run_id]

    def _lanes(self) -> Mapping[Lane, Sequence[Place]]:
        return self._base.lanes if self._queue is None else self._queue.lanes

    def change(self, run: Run, **values: Any) -> Run:  # noqa: ANN401 - the fields of Run
        """Change what is not the state."""
        return self.put(replace(run, **values))

    def move(self, run: Run, move: Move, state: State, **values: Any) -> Run:  # noqa: ANN401
        """Change the state by a legal move; IllegalMoveError otherwise."""
        check(run, move, state)
        return self.put(replace(run, state=state, story=next_story(run, move), **values))

    def drop(self, run: Run) -> None:
        """Let a run leave the fleet."""
        self._withdraw(run.run_id)
        if run.run_id in self.queued:
            self._own_queue().remove(run.run_id)

    def act(self, action: Action) -> None:
        """Ask the shell for something."""
        self.actions.append(action)

    def finish(self) -> Fleet:
        """The new fleet."""
        return replace(
            self._base,
            mode=self.mode,
            max_runs=self.max_runs,
            groups=self.groups,
            pauses=self.pauses,
            queued=self.queued,
            lanes=self._lanes(),
            delayed=self.delayed,
            dependents=self.dependents,
            accepted_count=self.accepted_count,
            active=self.active,
            busy=self.busy,
            beats=self.beats,
            due=self.due,
            tried=self.tried,
            snapshots=self.snapshots,
        )

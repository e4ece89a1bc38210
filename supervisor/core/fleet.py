"""The fleet: all runs that are not yet in history and state, as one value, and a draft of the next.

Queued and active runs are separate, and the queued ones are sorted in lanes, so the cost of a turn
depends on the active runs: a turn copies the queue only if it changes it, and never scans it. A
``Draft`` lives inside one ``step``, so that a turn with many stimuli copies the fleet once.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, replace
from enum import StrEnum
from typing import Any

from supervisor.core.actions import Action
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
    move_run,
)
from supervisor.core.pauses import Pauses
from supervisor.core.policy.backoff import Backoff, Jitter
from supervisor.core.policy.liveness import Ages, Liveness
from supervisor.core.queue import CHILDREN, Lane, Position, Queue, lane_of
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
            (it checks for leftovers for up to 10 s) before it is killed itself.
        remote_margin_s: the same for a worker on another host: both directions may be a minute late
            (NFS caches a directory for acdirmax, 60 s).
        clear_within_s: how long killing may delay the verdict.
        clear_first_s: from the first round of killing to the second; each further wait is as long
            as the killing has taken so far, up to ``clear_every_s``.
        leftovers_every_s: between rounds of killing once the verdict is written.
        give_up_s: how long the killing goes on in total; the kernel ends what survives SIGKILL this
            long as soon as it can (as ``containment.GIVE_UP_S``).
        owed_retry_s: between attempts at the lock of a task whose snapshot is owed.
        record_retry_s: between attempts to write a verdict or a record.
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
        """How long a run may take to end after it was asked to."""
        return self.grace_s + (self.stop_margin_s if run.host is None else self.remote_margin_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A task's state that has to be written.

    Attributes:
        due_mono_s: when to try next.
        failures_count: failed attempts since the last success.
        owed: the bounded attempts are used up.
        reason: why the last attempt failed.
    """

    due_mono_s: float
    failures_count: int = 0
    owed: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """All runs known.

    ``beats`` and ``manifests_due`` are not fields of Run, so that a heartbeat changes a number and
    creates no Run (benches: "supervisor's CPU, 50 live" grows by a third otherwise).

    Attributes:
        groups: the limit of each concurrency group; a group that is missing has no limit.
        pauses: what the operator has paused.
        only_waited_for: start only runs that a ``supervisor run`` waits for.
        queued: by run id.
        lanes: the queued runs that need only a free slot to start.
        delayed: the queued runs whose launch will be retried, and when.
        dependents: the queued runs that wait for another run to succeed, by that run's id.
        accepted_count: how many runs were ever queued.
        active: by run id, the runs in every other state.
        busy: the active runs that are not simply running and fresh; only these can fall due.
        beats: by run id, when a heartbeat was last seen to move, on our monotonic clock.
        manifests_due: by run id, from when on a heartbeat alone causes a manifest.
        snapshots: by task id, if the state on disk lacks a recorded run.
    """

    max_runs: int
    groups: Mapping[str, int] = field(default_factory=dict)
    pauses: Pauses = field(default_factory=Pauses)
    mode: Mode = Mode.SERVING
    only_waited_for: bool = False
    queued: Mapping[str, Run] = field(default_factory=dict)
    lanes: Mapping[Lane, Sequence[Position]] = field(default_factory=dict)
    delayed: Mapping[str, float] = field(default_factory=dict)
    dependents: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    accepted_count: int = 0
    active: Mapping[str, Run] = field(default_factory=dict)
    busy: Mapping[str, None] = field(default_factory=dict)
    beats: Mapping[str, float] = field(default_factory=dict)
    manifests_due: Mapping[str, float] = field(default_factory=dict)
    snapshots: Mapping[str, Snapshot] = field(default_factory=dict)

    def find(self, run_id: str) -> Run | None:
        """The run, or None if it is not in the fleet."""
        return self.active.get(run_id) or self.queued.get(run_id)

    def runs(self) -> Iterator[Run]:
        """Active runs, then queued ones."""
        yield from self.active.values()
        yield from self.queued.values()

    def waits_for_disk_only(self) -> bool:
        """Whether no process of a run is alive and only records are left to write."""
        return all(
            (isinstance(run.state, Recorded) or run.refused is not None) and run.killing is None
            for run in self.active.values()
        )

    def at_work(self) -> list[str]:
        """The runs that have a worker, or are about to, and no verdict yet."""
        ended = (Judged, Ended, Recorded)
        return [r.run_id for r in self.active.values() if not isinstance(r.state, ended)]

    def unwritten(self) -> dict[str, str]:
        """The runs whose result the disk refuses, and the reason."""
        return {r.run_id: r.refused for r in self.active.values() if r.refused is not None}

    def limit_of(self, group: str | None) -> int:
        """How many runs of a group may be live at once."""
        return self.max_runs if group is None else self.groups.get(group, self.max_runs)

    def serves(self, lane: Lane) -> bool:
        """Whether runs of a lane start in this mode, once there is room and no pause."""
        if lane.child or self.lends_slot(lane.nested_in):
            return True
        if self.mode is not Mode.SERVING:
            return False
        return lane.waited_for or not self.only_waited_for

    def is_open(self, lane: Lane) -> bool:
        """Whether runs of a lane may start as soon as there is room."""
        within = lane.child or self.lends_slot(lane.nested_in)
        return self.serves(lane) and (within or not self.pauses.is_paused(lane.group))

    def lends_slot(self, run_id: str | None) -> bool:
        """Whether a run has a worker that can wait for runs nested in it."""
        run = None if run_id is None else self.active.get(run_id)
        return run is not None and isinstance(run.state, Starting | Running)

    def has_more_to_start(self) -> bool:
        """Whether queued runs will start sooner or later, paused ones included.

        Runs with open dependencies do not count: the dependency counts while it is in the fleet.
        """
        delayed = (lane_of(self.queued[run_id]) for run_id in self.delayed)
        return any(self.serves(lane) for lane in (*self.lanes, *delayed))

    def paused_count(self) -> int:
        """How many queued runs only wait because of a pause."""
        return sum(
            len(positions)
            for lane, positions in self.lanes.items()
            if self.serves(lane) and not self.is_open(lane)
        )


class Draft:
    """The next fleet while a step builds it, and the actions of that step."""

    def __init__(self, fleet: Fleet, *, now_mono_s: float, rules: Rules, jitter: Jitter) -> None:
        self._base = fleet
        self.now = now_mono_s
        self.rules = rules
        self.jitter = jitter
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
        self.manifests_due = dict(fleet.manifests_due)
        self.snapshots = dict(fleet.snapshots)
        self.actions: list[Action] = []

    def find(self, run_id: str) -> Run | None:
        """The run as it is now, or None."""
        return self.active.get(run_id) or self.queued.get(run_id)

    def put(self, run: Run) -> Run:
        """Store a run by its id, as queued or active according to its state."""
        if run.run_id in self.queued:
            self._own_queue().remove(run.run_id)
        if isinstance(run.state, Queued):
            self._deactivate(run.run_id)
            self._own_queue().add(run)
            return run
        self._active_copy()[run.run_id] = run
        if type(run.state) is Running and run.liveness is Liveness.FRESH and run.killing is None:
            self.busy.pop(run.run_id, None)
        else:
            self.busy[run.run_id] = None
        return run

    def _deactivate(self, run_id: str) -> None:
        if run_id in self.active:
            del self._active_copy()[run_id]
            for by_run in (self.busy, self.beats, self.manifests_due):
                by_run.pop(run_id, None)

    def _active_copy(self) -> dict[str, Run]:
        """The active runs, copied at the first change."""
        if self._own_active is None:
            self.active = self._own_active = dict(self._base.active)
        return self._own_active

    def _own_queue(self) -> Queue:
        """The queue, copied at the first change."""
        base = self._base
        if self._queue is None:
            self._queue = Queue(
                base.queued, lanes=base.lanes, delayed=base.delayed, dependents=base.dependents
            )
            self.queued, self.delayed = self._queue.runs, self._queue.delayed
            self.dependents = self._queue.dependents
        return self._queue

    def join(self, run: Run) -> Run:
        """Append a new run to the queue."""
        self.accepted_count += 1
        return self.put(replace(run, number=self.accepted_count))

    def release_delayed(self) -> None:
        """Move the runs whose delay is over into their lanes."""
        for run_id in [name for name, until in self.delayed.items() if until <= self.now]:
            self._own_queue().release(run_id)

    def children_of(self, run_id: str) -> list[Run]:
        """The runs that a run's stages requested."""
        waiting = [name for *_, name in self._lanes().get(CHILDREN, ())]
        queued = (self.queued[name] for name in (*waiting, *self.delayed))
        return [run for run in (*self.active.values(), *queued) if run.parent_run_id == run_id]

    def _lanes(self) -> Mapping[Lane, Sequence[Position]]:
        return self._base.lanes if self._queue is None else self._queue.lanes

    def change(self, run: Run, **values: Any) -> Run:  # noqa: ANN401 - the fields of Run
        """Change fields, also of the state, but not which state it is."""
        return self.put(replace(run, **values))

    def move(self, run: Run, move: Move, state: State, **values: Any) -> Run:  # noqa: ANN401
        """Change the state by a legal move; raises IllegalMoveError otherwise."""
        return self.put(move_run(run, move, state, **values))

    def drop(self, run: Run) -> None:
        """Remove a run from the fleet."""
        self._deactivate(run.run_id)
        if run.run_id in self.queued:
            self._own_queue().remove(run.run_id)

    def act(self, action: Action) -> None:
        """Order an action."""
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
            manifests_due=self.manifests_due,
            snapshots=self.snapshots,
        )

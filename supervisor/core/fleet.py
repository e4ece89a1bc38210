"""The fleet: all runs that are not yet in history and state, as one value, and a draft of the next.

Queued runs and active runs are kept apart, so that a turn costs what is alive and not what waits.
A ``Draft`` lives inside one ``step`` only; it exists so that a turn with many stimuli copies the
fleet once.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from supervisor.core.actions import Action
from supervisor.core.backoff import Backoff
from supervisor.core.lifecycle import Move, Queued, Recorded, Run, State, check, next_story
from supervisor.core.liveness import Ages


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
        clear_within_s: how long killing may take before the verdict is written with what is left.
        clear_every_s: between two rounds of it; ``remains_every_s`` once the verdict is written.
        give_up_s: how long the killing goes on in all: what survives SIGKILL this long is left to
            the kernel, which ends it as soon as it can (as workers.containment.GIVE_UP_S).
        owed_retry_s: between attempts at the lock of a task whose snapshot is owed.
    """

    lock: Backoff
    launch: Backoff
    ages: Ages
    grace_s: float
    manifest_throttle_s: float
    stop_margin_s: float = 12.0
    clear_within_s: float = 1.0
    clear_every_s: float = 0.05
    remains_every_s: float = 0.5
    give_up_s: float = 10.0
    owed_retry_s: float = 0.5
    record_retry_s: float = 1.0


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
        queued: by run id, in the order of acceptance.
        active: by run id, every other state.
        snapshots: by task id, where the state on disk lacks a recorded run.
        only_waited_for: serve only the runs that a ``supervisor run`` waits for.
    """

    max_runs: int
    mode: Mode = Mode.SERVING
    only_waited_for: bool = False
    queued: Mapping[str, Run] = field(default_factory=dict)
    active: Mapping[str, Run] = field(default_factory=dict)
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

    def unwritten(self) -> dict[str, str]:
        """The runs whose result the disk refuses, and why."""
        return {r.run_id: r.refused for r in self.active.values() if r.refused is not None}

    def can_start(self, run: Run) -> bool:
        """Tell whether a queued run may start at all in this mode, slots aside."""
        if not run.needs_slot:
            return True
        if self.mode is not Mode.SERVING:
            return False
        return run.waited_for or not self.only_waited_for


class Draft:
    """The next fleet while it is being made, and the actions that lead there."""

    def __init__(self, fleet: Fleet, *, now_mono_s: float, rules: Rules) -> None:
        self._base = fleet
        self.now = now_mono_s
        self.rules = rules
        self.mode = fleet.mode
        self.max_runs = fleet.max_runs
        self.queued = dict(fleet.queued)
        self.active = dict(fleet.active)
        self.snapshots = dict(fleet.snapshots)
        self.actions: list[Action] = []

    def find(self, run_id: str) -> Run | None:
        """The run as it is now, or None."""
        return self.active.get(run_id) or self.queued.get(run_id)

    def put(self, run: Run) -> Run:
        """Keep a run under its id, on the side where its state belongs."""
        here, there = self.active, self.queued
        if isinstance(run.state, Queued):
            here, there = there, here
        there.pop(run.run_id, None)
        here[run.run_id] = run
        return run

    def change(self, run: Run, **values: Any) -> Run:  # noqa: ANN401 - the fields of Run
        """Change what is not the state."""
        return self.put(replace(run, **values))

    def move(self, run: Run, move: Move, state: State, **values: Any) -> Run:  # noqa: ANN401
        """Change the state by a legal move; IllegalMoveError otherwise."""
        check(run, move, state)
        return self.put(replace(run, state=state, story=next_story(run, move), **values))

    def drop(self, run: Run) -> None:
        """Let a run leave the fleet."""
        self.active.pop(run.run_id, None)
        self.queued.pop(run.run_id, None)

    def act(self, action: Action) -> None:
        """Ask the shell for something."""
        self.actions.append(action)

    def finish(self) -> Fleet:
        """The new fleet."""
        return replace(
            self._base,
            mode=self.mode,
            max_runs=self.max_runs,
            queued=self.queued,
            active=self.active,
            snapshots=self.snapshots,
        )

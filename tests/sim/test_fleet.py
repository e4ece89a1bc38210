"""The core under any order of events: no run is lost, doubled or left behind, whatever happens."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from supervisor.core import actions, stimuli
from supervisor.core.fleet import Fleet, Rules
from supervisor.core.lifecycle import LIVE, Ended, Queued, Recorded
from supervisor.core.pauses import Pauses
from supervisor.core.policy.backoff import Backoff
from supervisor.core.policy.liveness import Ages
from supervisor.core.step import step
from supervisor.core.stimuli import Stimulus
from supervisor.core.timers import next_due

RULES = Rules(
    lock=Backoff(attempts_count=3, delay_s=0.1, factor=2.0, max_delay_s=1.0),
    launch=Backoff(attempts_count=3, delay_s=0.5, factor=2.0, max_delay_s=5.0),
    ages=Ages(interval_s=1.0, stale_after_s=5.0, hung_after_s=20.0),
    grace_s=2.0,
    manifest_throttle_s=3.0,
)
STATUSES = ("succeeded", "failed", "cancelled")


class World(RuleBasedStateMachine):
    """Plays disk, workers and operators by chance; the core never learns which is which."""

    runs: Bundle[str] = Bundle("runs")

    def __init__(self) -> None:
        super().__init__()
        self.fleet = Fleet(max_runs=2, groups={"g": 1})
        self.pauses = Pauses()
        self.after: dict[str, str] = {}
        self.now = 0.0
        self.count = 0
        self.workers: set[str] = set()
        self.verdicts: dict[str, str] = {}
        self.history: list[str] = []
        self.state: set[str] = set()
        self.forgotten: set[str] = set()
        self.accepted: set[str] = set()
        self.todo: list[actions.Action] = []
        self.lock_held = False
        self.disk_full = False

    def feed(self, *happened: Stimulus) -> None:
        self.fleet, wanted = step(
            self.fleet, happened, now_mono_s=self.now, rules=RULES, jitter=lambda: 0.5
        )
        for action in wanted:
            outcome = self.perform(action)
            if outcome is not None:
                self.feed(outcome)

    def perform(self, action: actions.Action) -> Stimulus | None:
        match action:
            case actions.Launch(run_id):
                assert run_id not in self.workers, "a second worker"
                assert run_id not in self.verdicts, "a worker after the verdict"
                dependency = self.after.get(run_id)
                assert dependency is None or self.verdicts.get(dependency) == "succeeded", (
                    "too early"
                )
                self.workers.add(run_id)
            case actions.KillLeftovers(run_id):
                self.workers.discard(run_id)
                return stimuli.LeftoversKilled(run_id, ())
            case actions.WriteVerdict():
                if self.disk_full:
                    return stimuli.VerdictWriteFailed(action.run_id, "ENOSPC")
                if action.detail.startswith("after:"):
                    dependency = self.after[action.run_id]
                    assert action.detail == f"after:{dependency}:{self.verdicts[dependency]}"
                self.verdicts.setdefault(action.run_id, action.status)
                return self.seen(action.run_id)
            case actions.Record(run_id):
                if self.disk_full:
                    return stimuli.RecordFailed(run_id, "ENOSPC")
                assert run_id in self.verdicts, "history before the verdict"
                assert run_id not in self.history, "twice in the history"
                self.history.append(run_id)
                return stimuli.RunRecorded(run_id)
            case actions.WriteSnapshot(task_id):
                if self.lock_held or self.disk_full:
                    return stimuli.SnapshotWriteFailed(task_id, "held")
                self.state = set(self.history)
                return stimuli.SnapshotWritten(task_id)
            case actions.ReleaseMarker(run_id):
                assert run_id in self.state, "forgotten before it is in the state"
                self.forgotten.add(run_id)
            case actions.WriteManifest(run_id):
                return stimuli.ManifestWritten(run_id)
            case _:
                pass
        return None

    def seen(self, run_id: str) -> Stimulus:
        return stimuli.VerdictRead(run_id, self.verdicts[run_id], None)

    @rule(target=runs, waited=st.booleans(), priority=st.integers(-1, 1), grouped=st.booleans())
    def accept(self, waited: bool, priority: int, grouped: bool) -> str:
        return self.accept_one(waited, priority=priority, group="g" if grouped else None)

    @rule(target=runs, dependency=runs, waited=st.booleans())
    def accept_dependent(self, dependency: str, waited: bool) -> str:
        ended = ((dependency, self.verdicts[dependency]),) if dependency in self.forgotten else ()
        self.after[f"r{self.count + 1}"] = dependency
        return self.accept_one(waited, dependencies=(dependency,), dependency_statuses=ended)

    def accept_one(self, waited: bool, **about: Any) -> str:
        self.count += 1
        run_id = f"r{self.count}"
        self.accepted.add(run_id)
        self.feed(
            stimuli.Accepted(
                run_id=run_id, task_id="t", parent_run_id=None, waited_for=waited, **about
            )
        )
        return run_id

    @rule(group=st.sampled_from([None, "g"]), pause=st.booleans())
    def is_paused(self, group: str | None, pause: bool) -> None:
        self.pauses = self.pauses.paused(group, at="") if pause else self.pauses.resumed(group)
        self.feed(stimuli.PausesChanged(self.pauses))

    @rule(target=runs, parent=runs)
    def accept_child(self, parent: str) -> str:
        self.count += 1
        run_id = f"r{self.count}"
        self.accepted.add(run_id)
        self.feed(
            stimuli.Accepted(run_id=run_id, task_id="t", parent_run_id=parent, waited_for=False)
        )
        return run_id

    @rule(run_id=runs)
    def start(self, run_id: str) -> None:
        if run_id in self.workers:
            self.feed(stimuli.Started(run_id), stimuli.JournalAdvanced(run_id))

    @rule(run_id=runs)
    def withdraw(self, run_id: str) -> None:
        run = self.fleet.find(run_id)
        if run is not None and type(run.state).__name__ == "Starting":
            self.workers.discard(run_id)
            self.feed(stimuli.PlacementWithdrawn(run_id))

    @rule(run_id=runs)
    def move_to_other_host(self, run_id: str) -> None:
        if run_id in self.workers:
            self.feed(stimuli.WorkerOnHost(run_id, "other"))

    @rule(run_id=runs, status=st.sampled_from(STATUSES))
    def end(self, run_id: str, status: str) -> None:
        if run_id in self.workers:
            self.workers.discard(run_id)
            self.verdicts.setdefault(run_id, status)
            self.feed(stimuli.Started(run_id), self.seen(run_id))

    @rule(run_id=runs)
    def lose(self, run_id: str) -> None:
        if run_id in self.workers:
            self.workers.discard(run_id)
            self.feed(stimuli.WorkerGone(run_id, "killed"))

    @rule(run_id=runs, transient=st.booleans())
    def fail_to_launch(self, run_id: str, transient: bool) -> None:
        run = self.fleet.find(run_id)
        if run is not None and type(run.state).__name__ == "Starting":
            self.workers.discard(run_id)
            self.feed(stimuli.LaunchFailed(run_id, "EAGAIN", transient))

    @rule(run_id=runs, moved=st.booleans(), stopped=st.booleans())
    def scan(self, run_id: str, moved: bool, stopped: bool) -> None:
        ids = (run_id,)
        asleep = frozenset(ids if stopped else ())
        self.feed(
            stimuli.HeartbeatsScanned(moved=ids)
            if moved
            else stimuli.HeartbeatsScanned(still=ids, stopped=asleep)
        )

    @rule(run_id=runs)
    def cancel(self, run_id: str) -> None:
        self.feed(stimuli.CancelRequested(run_id, "cancelled-by-user"))

    @rule(run_id=consumes(runs))
    def delete_directory(self, run_id: str) -> None:
        if run_id not in self.verdicts:
            self.feed(stimuli.DirectoryGone(run_id))

    @rule(held=st.booleans(), full=st.booleans())
    def meddle(self, held: bool, full: bool) -> None:
        self.lock_held, self.disk_full = held, full

    @rule(seconds=st.floats(0.01, 30))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.feed()

    @rule()
    def stall(self) -> None:
        self.now += 1000
        self.feed(stimuli.Stalled())

    @rule(limit=st.integers(0, 4), group=st.integers(0, 2))
    def change_limit(self, limit: int, group: int) -> None:
        self.feed(stimuli.LimitChanged(limit, {"g": group} if group else {}))

    @invariant()
    def no_run_is_lost_or_doubled(self) -> None:
        held = {run.run_id for run in self.fleet.runs()}
        assert held | self.forgotten == self.accepted
        assert not held & self.forgotten
        assert len(self.history) == len(set(self.history))

    @invariant()
    def recorded_runs_have_their_verdict(self) -> None:
        for run in self.fleet.runs():
            if isinstance(run.state, Ended | Recorded):
                assert run.state.status == self.verdicts[run.run_id]
            if isinstance(run.state, Queued):
                assert run.run_id not in self.workers

    @invariant()
    def slots_are_not_overdrawn_by_launches(self) -> None:
        live = [r for r in self.fleet.active.values() if isinstance(r.state, LIVE)]
        assert len([r for r in live if r.needs_slot]) <= max(4, self.fleet.max_runs)

    @invariant()
    def every_waiting_run_has_a_reason(self) -> None:
        fleet = self.fleet
        live = [r for r in fleet.active.values() if isinstance(r.state, LIVE) and r.needs_slot]
        in_group = sum(r.group == "g" for r in live)
        for run in fleet.queued.values():
            assert isinstance(run.state, Queued)
            if run.dependencies or run.state.not_before_mono_s > self.now:
                continue
            held = run.needs_slot and fleet.pauses.is_paused(run.group)
            full = run.needs_slot and len(live) >= fleet.max_runs
            full = full or (run.group == "g" and in_group >= fleet.limit_of("g"))
            assert held or full, f"{run.run_id} could have started"

    @invariant()
    def each_queued_run_waits_in_one_place(self) -> None:
        fleet = self.fleet
        places = [run_id for lane in fleet.lanes.values() for *_, run_id in lane]
        follow = {run_id for others in fleet.dependents.values() for run_id in others}
        assert sorted([*places, *fleet.delayed, *follow]) == sorted(fleet.queued)
        assert all(list(lane) == sorted(lane) and lane for lane in fleet.lanes.values())

    def teardown(self) -> None:
        """When the world behaves again, every accepted run ends in the state, by timers alone."""
        self.lock_held = self.disk_full = False
        self.feed(stimuli.LimitChanged(100, {}), stimuli.PausesChanged(Pauses()))
        for _ in range(200):
            for run_id in sorted(self.workers):
                self.end(run_id, "succeeded")
            due = next_due(self.fleet, RULES)
            if due is None and not self.workers:
                break
            self.now = max(self.now, due or self.now) + 0.01
            self.feed()
        assert self.forgotten == self.accepted, "a run never left"
        assert self.state >= self.accepted


World.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestWorld = World.TestCase

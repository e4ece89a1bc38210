"""Histories as data: what happened, and what the core then wants done."""

from collections.abc import Iterable

import pytest

from supervisor.core import actions, stimuli
from supervisor.core.actions import Action
from supervisor.core.fleet import Fleet, Mode, Rules
from supervisor.core.lifecycle import Clearing, Ended, Queued, Recorded, Running, Stopping
from supervisor.core.policy.backoff import Backoff
from supervisor.core.policy.liveness import Ages
from supervisor.core.step import step
from supervisor.core.stimuli import Stimulus
from supervisor.core.timers import next_due

RULES = Rules(
    lock=Backoff(attempts_count=3, delay_s=0.1, factor=2.0, max_delay_s=1.0),
    launch=Backoff(attempts_count=2, delay_s=0.5, factor=2.0, max_delay_s=5.0),
    ages=Ages(interval_s=5.0, stale_after_s=30.0, hung_after_s=120.0),
    grace_s=10.0,
    manifest_throttle_s=30.0,
)


class World:
    """Feeds stimuli at chosen instants."""

    def __init__(self, max_runs: int = 50, *, only_waited_for: bool = False) -> None:
        self.fleet = Fleet(max_runs=max_runs, only_waited_for=only_waited_for)
        self.now = 100.0

    def feed(self, *happened: Stimulus, after_s: float = 0.0) -> tuple[Action, ...]:
        self.now += after_s
        self.fleet, wanted = step(
            self.fleet, happened, now_mono_s=self.now, rules=RULES, jitter=lambda: 0.5
        )
        return wanted

    def running(self, run_id: str) -> None:
        self.feed(accepted(run_id))
        self.feed(stimuli.Started(run_id))

    def state(self, run_id: str) -> object:
        run = self.fleet.find(run_id)
        return None if run is None else run.state


def accepted(run_id: str, *, parent: str | None = None, waited: bool = False) -> stimuli.Accepted:
    return stimuli.Accepted(run_id=run_id, task_id="t", parent_run_id=parent, waited_for=waited)


def launched(wanted: Iterable[Action]) -> list[str]:
    return [action.run_id for action in wanted if isinstance(action, actions.Launch)]


def test_healthy_run_passes_all_states_and_leaves() -> None:
    world = World()
    assert world.feed(accepted("a")) == (actions.Launch("a"),)
    assert world.feed(stimuli.Started("a"), stimuli.JournalAdvanced("a")) == (
        actions.WriteManifest("a"),
    )
    assert world.feed(stimuli.VerdictRead("a", "succeeded", None)) == (actions.Record("a"),)
    assert world.feed(stimuli.RunRecorded("a")) == (actions.WriteSnapshot("t"),)
    assert world.feed(stimuli.SnapshotWritten("t")) == (actions.ReleaseMarker("a"),)
    assert world.fleet.find("a") is None
    assert next_due(world.fleet, RULES) is None


def test_runs_start_in_order_of_acceptance_while_slots_are_free() -> None:
    world = World(max_runs=2)
    assert launched(world.feed(accepted("a"), accepted("b"), accepted("c"))) == ["a", "b"]
    assert launched(world.feed(stimuli.VerdictRead("b", "succeeded", None))) == ["c"]


def test_child_run_takes_no_slot_and_starts_while_its_parent_has_the_last() -> None:
    world = World(max_runs=1)
    assert launched(world.feed(accepted("a"), accepted("b"))) == ["a"]
    assert launched(world.feed(accepted("c", parent="a"))) == ["c"]


def test_changed_limit_takes_effect() -> None:
    world = World(max_runs=1)
    world.feed(accepted("a"), accepted("b"), accepted("c"))
    assert launched(world.feed(stimuli.LimitChanged(3))) == ["b", "c"]


def test_drain_starts_no_queued_runs_except_children() -> None:
    world = World(max_runs=1)
    world.feed(accepted("a"), accepted("b"))
    world.feed(stimuli.DrainRequested())
    assert launched(world.feed(accepted("c", parent="a"))) == ["c"]
    assert not launched(world.feed(stimuli.VerdictRead("a", "succeeded", None)))
    assert isinstance(world.state("b"), Queued)


def test_stop_cancels_running_runs_and_keeps_queued_ones() -> None:
    world = World(max_runs=1)
    world.running("a")
    world.feed(accepted("b"))
    assert world.feed(stimuli.StopRequested()) == (actions.StopWorker("a", "stopped"),)
    assert world.fleet.mode is Mode.STOPPING
    assert isinstance(world.state("b"), Queued)


def test_cancelled_queued_run_gets_its_verdict_from_the_supervisor() -> None:
    world = World(max_runs=0)
    world.feed(accepted("a"))
    (write,) = world.feed(stimuli.CancelRequested("a", "cancelled-by-user"))
    assert isinstance(write, actions.WriteVerdict)
    assert (write.status, write.detail) == ("cancelled", "cancelled-by-user")


def test_leftovers_of_a_lost_worker_are_killed_before_its_verdict() -> None:
    world = World()
    world.running("a")
    world.feed(accepted("child", parent="a"))
    wanted = world.feed(stimuli.WorkerGone("a", "killed by SIGKILL"))
    assert actions.KillLeftovers("a") in wanted
    assert actions.StopWorker("child", "stopped") in wanted
    assert isinstance(world.state("a"), Clearing)
    assert not [a for a in world.feed(stimuli.LeftoversKilled("a", (7,))) if not _is_clear(a)]
    wanted = world.feed(stimuli.LeftoversKilled("a", ()), after_s=0.1)
    assert [(w.status, w.detail) for w in wanted if isinstance(w, actions.WriteVerdict)] == [
        ("failed", "worker-lost")
    ]


def _is_clear(action: Action) -> bool:
    return isinstance(action, actions.KillLeftovers)


def test_verdict_lists_survivors_of_one_second_and_killing_continues() -> None:
    world = World()
    world.running("a")
    world.feed(stimuli.WorkerGone("a", "gone"))
    wanted = world.feed(stimuli.LeftoversKilled("a", (7,)), after_s=1.1)
    assert [w.leftover_pids for w in wanted if isinstance(w, actions.WriteVerdict)] == [(7,)]
    assert actions.KillLeftovers("a") in world.feed(after_s=0.1)
    world.feed(stimuli.VerdictRead("a", "failed", "worker-lost"), stimuli.RunRecorded("a"))
    world.feed(stimuli.SnapshotWritten("t"))
    assert world.fleet.find("a") is not None
    assert actions.ReleaseMarker("a") in world.feed(stimuli.LeftoversKilled("a", ()), after_s=0.1)


def test_process_that_survives_ten_seconds_of_killing_is_let_go() -> None:
    world = World()
    world.running("a")
    world.feed(stimuli.WorkerGone("a", "gone"))
    world.feed(stimuli.LeftoversKilled("a", (7,)), after_s=1.1)
    world.feed(stimuli.VerdictRead("a", "failed", "worker-lost"), stimuli.RunRecorded("a"))
    world.feed(stimuli.SnapshotWritten("t"))
    assert not world.feed(stimuli.LeftoversKilled("a", (7,)), after_s=8.0)
    assert actions.KillLeftovers("a") in world.feed(after_s=0.5)
    assert actions.ReleaseMarker("a") in world.feed(stimuli.LeftoversKilled("a", (7,)), after_s=0.4)
    assert world.fleet.find("a") is None


def test_failing_search_for_processes_delays_the_verdict_by_ten_seconds_at_most() -> None:
    world = World()
    world.running("a")
    world.feed(stimuli.WorkerGone("a", "gone"))
    for _ in range(19):  # twice a second for ten seconds, never faster
        assert not world.feed(stimuli.KillingFailed("a", "EMFILE"), after_s=0.01)
        assert world.feed(after_s=0.5) == (actions.KillLeftovers("a"),)
    wanted = world.feed(stimuli.KillingFailed("a", "EMFILE"), after_s=0.5)
    (verdict,) = (w for w in wanted if isinstance(w, actions.WriteVerdict))
    assert verdict.reason == "gone; its processes could not be searched for: EMFILE"
    world.feed(stimuli.VerdictRead("a", "failed", "worker-lost"), stimuli.RunRecorded("a"))
    assert actions.ReleaseMarker("a") in world.feed(stimuli.SnapshotWritten("t"))


def test_worker_that_dies_while_stopping_leaves_a_cancelled_run() -> None:
    world = World()
    world.running("a")
    world.feed(stimuli.CancelRequested("a", "cancelled-by-user"))
    world.feed(stimuli.WorkerGone("a", "gone"))
    wanted = world.feed(stimuli.LeftoversKilled("a", ()))
    assert [w.detail for w in wanted if isinstance(w, actions.WriteVerdict)] == [
        "cancelled-by-user"
    ]


def test_worker_that_does_not_end_in_time_is_killed() -> None:
    world = World()
    world.running("a")
    world.feed(stimuli.CancelRequested("a", "stopped"))
    assert isinstance(world.state("a"), Stopping)
    assert not world.feed(after_s=21.9)
    assert world.feed(after_s=0.2) == (actions.KillLeftovers("a"),)


def test_parent_that_is_killed_while_stopping_takes_its_children_along() -> None:
    world = World()
    world.running("a")
    world.feed(accepted("child", parent="a"))
    world.feed(stimuli.CancelRequested("a", "stopped"))
    assert actions.StopWorker("child", "stopped") in world.feed(after_s=22.1)


def test_hung_needs_three_scans_and_a_heartbeat_or_a_stall_resets_them() -> None:
    world = World()
    world.running("a")
    scan, beat = stimuli.HeartbeatsScanned(still=("a",)), stimuli.HeartbeatsScanned(moved=("a",))
    world.feed(scan, after_s=121)
    world.feed(scan)
    world.feed(stimuli.Stalled())
    world.feed(scan, after_s=1)
    assert isinstance(world.state("a"), Running)
    world.feed(beat)
    world.feed(scan, after_s=121)
    world.feed(scan)
    assert isinstance(world.state("a"), Running)
    world.feed(scan)
    state = world.state("a")
    assert isinstance(state, Clearing)
    assert state.detail == "worker-hung"


def test_stopped_process_stays_unresponsive_for_any_time() -> None:
    world = World()
    world.running("a")
    for _ in range(100):
        world.feed(stimuli.HeartbeatsScanned(still=("a",), stopped=frozenset({"a"})), after_s=60)
    run = world.fleet.find("a")
    assert run is not None
    assert (run.liveness, type(run.state)) == ("unresponsive", Running)


def test_run_on_a_silent_host_is_lost_after_three_scans_and_names_the_host() -> None:
    world = World()
    world.running("a")
    world.feed(stimuli.WorkerOnHost("a", "far"))
    for _ in range(2):
        assert world.feed(stimuli.HeartbeatsScanned(still=("a",)), after_s=121.0) == ()
    wanted = world.feed(stimuli.HeartbeatsScanned(still=("a",)), after_s=1.0)
    assert actions.KillLeftovers("a") in wanted
    state = world.state("a")
    assert isinstance(state, Clearing)
    assert (state.status, state.detail) == ("failed", "worker-lost")
    assert state.reason == "no heartbeat from host far for 243 s"


def test_remote_worker_gets_longer_to_stop_and_its_silence_means_cancelled() -> None:
    for silent in (False, True):
        world = World()
        world.running("a")
        world.feed(stimuli.WorkerOnHost("a", "far"))
        world.feed(stimuli.CancelRequested("a", "cancelled-by-user"))
        assert world.feed(after_s=95.0) == ()
        if silent:
            for _ in range(3):
                world.feed(stimuli.HeartbeatsScanned(still=("a",)), after_s=61.0)
        else:
            world.feed(after_s=6.0)
        state = world.state("a")
        assert isinstance(state, Clearing)
        assert (state.status, state.detail) == ("cancelled", "cancelled-by-user")
        assert "far" in state.reason


def test_withdrawn_placement_is_queued_again_and_does_not_count_as_a_launch() -> None:
    world = World()
    assert launched(world.feed(accepted("a"))) == ["a"]
    for _ in range(5):  # more often than a launch may fail
        assert launched(world.feed(stimuli.PlacementWithdrawn("a"))) == ["a"]
    world.feed(stimuli.DrainRequested())
    assert world.feed(stimuli.PlacementWithdrawn("a")) == ()
    assert isinstance(world.state("a"), Queued)
    assert world.feed(stimuli.PlacementWithdrawn("a")) == ()


def test_heartbeats_alone_rewrite_the_manifest_at_most_once_in_30_s() -> None:
    world = World()
    world.running("a")
    world.feed(stimuli.ManifestWritten("a"))
    written = 0
    for _ in range(41):
        wanted = world.feed(stimuli.HeartbeatsScanned(moved=("a",)), after_s=1)
        for action in wanted:
            assert action == actions.WriteManifest("a")
            written += 1
            world.feed(stimuli.ManifestWritten("a"))
    assert written == 1


def test_snapshot_is_owed_after_bounded_attempts_at_a_held_lock_and_written_later() -> None:
    world = World()
    world.running("a")
    world.feed(stimuli.VerdictRead("a", "succeeded", None))
    world.feed(stimuli.RunRecorded("a"))
    refused = stimuli.SnapshotWriteFailed("t", "held")
    assert world.feed(refused) == ()
    assert world.feed(after_s=0.05) == (actions.WriteSnapshot("t"),)
    assert world.feed(refused) == ()
    assert world.feed(after_s=0.1) == (actions.WriteSnapshot("t"),)
    assert world.feed(refused) == (
        actions.ReportOwed("t", 3, "held"),
        actions.WriteManifest("a", owed="held"),
    )
    state = world.state("a")
    assert isinstance(state, Recorded)
    assert state.owed
    assert world.feed(after_s=0.5) == (actions.WriteSnapshot("t"),)
    assert world.feed(refused) == ()
    assert world.feed(after_s=0.5) == (actions.WriteSnapshot("t"),)
    assert world.feed(stimuli.SnapshotWritten("t")) == (
        actions.WriteManifest("a"),
        actions.ReleaseMarker("a"),
    )


def test_transient_launch_failure_is_retried_then_given_up() -> None:
    world = World()
    world.feed(accepted("a"))
    failed = stimuli.LaunchFailed("a", "EAGAIN", transient=True)
    assert world.feed(failed) == ()
    assert launched(world.feed(after_s=0.25)) == ["a"]
    (write,) = world.feed(failed)
    assert isinstance(write, actions.WriteVerdict)
    assert write.detail == "spawn-failed"


def test_refused_record_is_retried_until_it_is_written() -> None:
    world = World()
    world.running("a")
    world.feed(stimuli.VerdictRead("a", "succeeded", None))
    for _ in range(50):
        assert world.feed(stimuli.RecordFailed("a", "ENOSPC")) == ()
        assert world.feed(after_s=1.0) == (actions.Record("a"),)
    assert isinstance(world.state("a"), Ended)


def test_temporary_supervisor_starts_only_runs_that_are_waited_for() -> None:
    world = World(only_waited_for=True)
    assert launched(world.feed(accepted("a"), accepted("b", waited=True))) == ["b"]


def test_verdict_is_final() -> None:
    world = World()
    world.running("a")
    world.feed(stimuli.VerdictRead("a", "succeeded", None))
    world.feed(
        stimuli.VerdictRead("a", "failed", "worker-lost"),
        stimuli.WorkerGone("a", "gone"),
        stimuli.CancelRequested("a", "stopped"),
        stimuli.DirectoryGone("a"),
    )
    state = world.state("a")
    assert isinstance(state, Ended)
    assert state.status == "succeeded"


@pytest.mark.fault("F1")
def test_refused_manifest_is_retried_at_the_next_heartbeat_not_every_turn() -> None:
    world = World()
    world.running("a")
    scan = stimuli.HeartbeatsScanned(moved=("a",))
    world.feed(scan)
    assert world.feed(scan, after_s=37.5) == (actions.WriteManifest("a"),)
    assert world.feed() == ()
    assert next_due(world.fleet, RULES) is None
    assert world.feed(scan, after_s=5.0) == (actions.WriteManifest("a"),)


@pytest.mark.fault("F1")
def test_refused_result_is_reported_until_it_is_written() -> None:
    world = World()
    world.running("a")
    world.feed(stimuli.VerdictRead("a", "succeeded", None))
    assert not world.fleet.waits_for_disk_only()
    world.feed(stimuli.RecordFailed("a", "no space"))
    assert world.fleet.waits_for_disk_only()
    assert world.fleet.unwritten() == {"a": "no space"}
    assert world.feed(after_s=RULES.record_retry_s) == (actions.Record("a"),)
    world.feed(stimuli.RunRecorded("a"))
    assert world.fleet.unwritten() == {}

"""Who starts next: priorities, groups, pauses, predecessors; and what a long queue costs."""

from typing import Any

import pytest

from supervisor.core import actions, stimuli
from supervisor.core.fleet import Fleet
from supervisor.core.lifecycle import Judged, Queued
from supervisor.core.pauses import Pauses
from supervisor.core.step import step
from tests.unit.core.test_step import RULES, World, launched


def accepted(run_id: str, **about: Any) -> stimuli.Accepted:
    return stimuli.Accepted(
        **{"run_id": run_id, "task_id": "t", "parent_run_id": None, "waited_for": False, **about}
    )


def ended(run_id: str, status: str = "succeeded") -> stimuli.VerdictRead:
    return stimuli.VerdictRead(run_id, status, None)


def grouped(max_runs: int = 50, **groups: int) -> World:
    world = World(max_runs)
    world.feed(stimuli.LimitChanged(max_runs, groups))
    return world


def test_higher_priority_starts_first_and_equal_ones_in_order_of_acceptance() -> None:
    world = World(max_runs=1)
    names = [("a", 0), ("b", -5), ("c", 7), ("d", 0), ("e", 7)]
    world.feed(accepted("first"))
    world.feed(*(accepted(name, priority=priority) for name, priority in names))
    order, live = [], "first"
    for _ in names:
        (live,) = launched(world.feed(ended(live)))
        order.append(live)
    assert order == ["c", "e", "a", "d", "b"]


def test_full_group_delays_no_other_runs() -> None:
    world = grouped(3, gpu=1)
    got = launched(
        world.feed(*(accepted(f"g{n}", group="gpu", priority=9) for n in range(3)), accepted("x"))
    )
    assert got == ["g0", "x"]
    assert launched(world.feed(ended("x"))) == []
    assert launched(world.feed(ended("g0"))) == ["g1"]


def test_priorities_apply_across_groups() -> None:
    world = grouped(1, gpu=5, disk=5)
    world.feed(accepted("live"))
    world.feed(
        accepted("low", group="gpu"), accepted("high", group="disk", priority=1), accepted("mid")
    )
    assert launched(world.feed(ended("live"))) == ["high"]
    assert launched(world.feed(ended("high"))) == ["low"]
    assert launched(world.feed(ended("low"))) == ["mid"]


def test_changed_group_limit_takes_effect() -> None:
    world = grouped(gpu=1)
    names = [f"r{n}" for n in range(5)]
    assert launched(world.feed(*(accepted(name, group="gpu") for name in names))) == ["r0"]
    assert launched(world.feed(stimuli.LimitChanged(50, {"gpu": 3}))) == ["r1", "r2"]
    assert not launched(world.feed(stimuli.LimitChanged(50, {"gpu": 1})))
    assert not launched(world.feed(ended("r0"), ended("r1")))
    assert launched(world.feed(ended("r2"))) == ["r3"]
    assert launched(world.feed(stimuli.LimitChanged(50, {}))) == ["r4"]


def test_child_run_ignores_group_limits_and_pauses() -> None:
    world = grouped(1, gpu=1)
    world.feed(accepted("a", group="gpu"), stimuli.PausesChanged(Pauses(since="now")))
    assert launched(world.feed(accepted("c", parent_run_id="a", group="gpu"))) == ["c"]


def test_pause_delays_starts_of_everything_or_of_a_group() -> None:
    world = grouped(gpu=5)
    assert launched(world.feed(accepted("a"))) == ["a"]
    world.feed(stimuli.PausesChanged(Pauses().paused("gpu", at="now")))
    assert launched(world.feed(accepted("g", group="gpu"), accepted("b"))) == ["b"]
    world.feed(stimuli.PausesChanged(Pauses().paused(None, at="now")))
    assert not launched(world.feed(accepted("c")))
    assert world.fleet.paused_count() == 2
    assert world.fleet.has_more_to_start()
    assert launched(world.feed(stimuli.PausesChanged(Pauses()))) == ["g", "c"]


def test_pause_in_the_same_turn_applies_to_a_new_run() -> None:
    wanted = World().feed(accepted("a"), stimuli.PausesChanged(Pauses(since="now")))
    assert not launched(wanted)


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_dependents_of_an_unsuccessful_run_are_cancelled_transitively(
    status: str,
) -> None:
    world = World()
    world.running("a")
    assert not launched(
        world.feed(accepted("b", dependencies=("a",)), accepted("c", dependencies=("b",)))
    )
    wanted = world.feed(ended("a", status))
    judged = world.state("b")
    assert isinstance(judged, Judged)
    assert (judged.status, judged.detail) == ("cancelled", f"after:a:{status}")
    assert any(isinstance(action, actions.WriteVerdict) for action in wanted)
    world.feed(ended("b", "cancelled"))
    judged = world.state("c")
    assert isinstance(judged, Judged)
    assert judged.detail == "after:b:cancelled"


def test_dependent_starts_when_its_dependency_succeeded() -> None:
    world = World()
    world.running("a")
    assert not launched(world.feed(accepted("b", dependencies=("a",))))
    assert launched(world.feed(ended("a"))) == ["b"]
    assert launched(world.feed(accepted("c", dependencies=("a",)))) == ["c"], "it ended before"


def test_status_of_a_past_dependency_comes_with_the_run() -> None:
    world = World()
    good, bad = ("old", "succeeded"), ("older", "failed")
    assert launched(
        world.feed(accepted("a", dependencies=("old",), dependency_statuses=(good,)))
    ) == ["a"]
    world.feed(accepted("b", dependencies=("old", "older"), dependency_statuses=(good, bad)))
    judged = world.state("b")
    assert isinstance(judged, Judged)
    assert judged.detail == "after:older:failed"


def test_run_waits_for_all_of_its_dependencies() -> None:
    world = World()
    world.running("a")
    world.running("b")
    world.feed(accepted("c", dependencies=("a", "b")))
    assert not launched(world.feed(ended("a")))
    assert launched(world.feed(ended("b"))) == ["c"]


def test_dependency_accepted_after_its_dependent_releases_it() -> None:
    world = World()
    world.feed(accepted("b", dependencies=("a",)))
    assert not world.fleet.has_more_to_start(), "nobody waits for a run that may never come"
    world.running("a")
    assert launched(world.feed(ended("a"))) == ["b"]


def test_run_that_waits_for_a_dependency_can_be_cancelled() -> None:
    world = World()
    world.running("a")
    world.feed(accepted("b", dependencies=("a",)))
    world.feed(stimuli.CancelRequested("b", "cancelled-by-user"))
    assert isinstance(world.state("b"), Judged)
    assert not launched(world.feed(ended("a")))
    assert not world.fleet.dependents


def test_caller_that_waits_for_a_run_waits_for_its_dependencies() -> None:
    world = World(only_waited_for=True)
    assert not launched(
        world.feed(accepted("a"), accepted("b", dependencies=("a",)), accepted("x"))
    )
    assert launched(world.feed(accepted("c", dependencies=("b",), waited_for=True))) == ["a"]
    assert launched(world.feed(ended("a"))) == ["b"]
    world = World(only_waited_for=True)
    world.feed(accepted("b", dependencies=("a",), waited_for=True))
    assert launched(world.feed(accepted("a"))) == ["a"], "accepted after who waits for it"


def test_turn_that_starts_nothing_does_not_copy_the_queue() -> None:
    fleet = Fleet(max_runs=1)
    many = [accepted(f"r{n:06}") for n in range(2000)]
    fleet, _ = step(fleet, many, now_mono_s=0.0, rules=RULES, jitter=lambda: 0.5)
    scan = stimuli.HeartbeatsScanned(moved=("r000000",))
    after, _ = step(fleet, [scan], now_mono_s=1.0, rules=RULES, jitter=lambda: 0.5)
    assert after.queued is fleet.queued
    assert after.lanes is fleet.lanes
    assert isinstance(after.queued["r001999"].state, Queued)


def test_repeated_pause_keeps_its_first_instant() -> None:
    pauses = (
        Pauses().paused("g", at="1").paused("g", at="2").paused(None, at="3").paused(None, at="4")
    )
    assert (pauses.since, dict(pauses.groups)) == ("3", {"g": "1"})
    assert pauses.resumed("g") == Pauses(since="3")
    assert pauses.is_paused("g")
    assert not Pauses().paused("g", at="1").is_paused(None)
    assert pauses.resumed(None) == Pauses()
    assert not Pauses()

"""Killed at every mutating call: nothing is lost, nothing doubled, nothing left."""

from dataclasses import replace

import pytest

from tests.faults.engine.lab import Lab
from tests.faults.engine.scenario import (
    AGAIN,
    FAILING,
    FAMILY,
    HOSTED,
    PLACED,
    REQUESTS,
    SEVERAL,
    STEERED,
    SUBMIT,
    TAKEN_OVER,
    Scenario,
)
from tests.faults.engine.shim import Crash, Mode, Role

KILLED = [Mode.BEFORE, Mode.AFTER, Mode.TORN]
SCENARIOS = {
    "several": SEVERAL,
    "family": FAMILY,
    "requests": REQUESTS,
    "steered": STEERED,
    "placed": PLACED,
}


@pytest.mark.fault("P1")
@pytest.mark.parametrize(
    ("scenario", "mode", "first"),
    [
        (SEVERAL, Mode.BEFORE, 3),
        (SEVERAL, Mode.TORN, 11),
        (FAMILY, Mode.AFTER, 7),
        (REQUESTS, Mode.BEFORE, 1),
        (STEERED, Mode.BEFORE, 2),
        (PLACED, Mode.AFTER, 5),
    ],
    ids=["several", "several-torn", "family-after", "requests", "steered", "placed"],
)
def test_a_supervisor_killed_at_a_call_loses_nothing(
    lab: Lab, scenario: Scenario, mode: Mode, first: int
) -> None:
    assert lab.every(scenario, mode=mode, first=first, step=17) >= 9


@pytest.mark.fault("P1")
@pytest.mark.parametrize(
    ("first", "step"),
    [(6, 19), pytest.param(1, 1, marks=pytest.mark.slow)],
    ids=["sample", "every"],
)
def test_a_supervisor_killed_between_the_runs_of_a_request_loses_none_and_makes_none_twice(
    lab: Lab, first: int, step: int
) -> None:
    lab = replace(lab, plants=("in_shares",))
    assert lab.every(SEVERAL, mode=Mode.AFTER, first=first, step=step) >= 9


HOSTED_CALLS = {
    Role.SUPERVISOR: 18,
    Role.TEMPORARY: 150,
    Role.HOST_KEEPER: 10,
    Role.HOST_WORKER: 25,
}
"""Who has a part in a run that its caller hosts (the first is the caller), and how many mutating
calls it makes at least."""


@pytest.mark.fault("P1", "P50", "P51")
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("role", "mode", "first"),
    [
        (Role.SUPERVISOR, Mode.AFTER, 4),
        (Role.TEMPORARY, Mode.TORN, 30),
        (Role.HOST_KEEPER, Mode.AFTER, 2),
        (Role.HOST_WORKER, Mode.BEFORE, 5),
    ],
    ids=["caller", "temporary", "keeper", "worker"],
)
def test_crash_of_whoever_has_a_part_in_a_hosted_run_leaves_one_verdict(
    lab: Lab, role: Role, mode: Mode, first: int
) -> None:
    assert lab.every(HOSTED, mode=mode, role=role, first=first, step=HOSTED_CALLS[role] // 3) >= 2


@pytest.mark.slow
@pytest.mark.fault("P1", "P50", "P51")
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("mode", KILLED)
@pytest.mark.parametrize("role", HOSTED_CALLS, ids=["caller", "temporary", "keeper", "worker"])
def test_crash_at_every_call_of_whoever_has_a_part_in_a_hosted_run_leaves_one_verdict(
    lab: Lab, role: Role, mode: Mode
) -> None:
    assert lab.every(HOSTED, mode=mode, role=role) >= HOSTED_CALLS[role]


@pytest.mark.fault("P1", "P50")
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "step", [12, pytest.param(1, marks=pytest.mark.slow)], ids=["sample", "every"]
)
def test_crash_of_a_start_that_takes_the_lease_over_harms_no_waiting_run(
    lab: Lab, step: int
) -> None:
    assert lab.every(TAKEN_OVER, mode=Mode.AFTER, first=2, step=step) >= 2


@pytest.mark.fault("P1", "P9")
@pytest.mark.parametrize("mode", KILLED)
def test_what_submit_acknowledged_is_there_at_whatever_call_it_was_killed(
    lab: Lab, mode: Mode
) -> None:
    assert lab.every(SUBMIT, mode=mode) >= 10


@pytest.mark.fault("P5")
@pytest.mark.parametrize("mode", KILLED)
def test_a_worker_killed_at_a_call_leaves_one_verdict(lab: Lab, mode: Mode) -> None:
    assert lab.every(FAILING, mode=mode, role=Role.WORKER) >= 16


@pytest.mark.slow
@pytest.mark.fault("P1")
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("mode", KILLED)
@pytest.mark.parametrize("name", SCENARIOS)
def test_a_supervisor_killed_at_every_call_loses_nothing(lab: Lab, name: str, mode: Mode) -> None:
    assert lab.every(SCENARIOS[name], mode=mode) > 150


@pytest.mark.slow
@pytest.mark.fault("P5")
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("mode", KILLED)
@pytest.mark.parametrize("scenario", [FAMILY, AGAIN], ids=["family", "again"])
def test_a_worker_killed_at_every_call_leaves_one_verdict(
    lab: Lab, scenario: Scenario, mode: Mode
) -> None:
    assert lab.every(scenario, mode=mode, role=Role.WORKER) > 20


@pytest.mark.fault("P5", "P31")
@pytest.mark.parametrize(
    ("role", "mode", "least"),
    [(Role.WORKER, Mode.BEFORE, 7), (Role.WORKER, Mode.AFTER, 7), (Role.KEPT, Mode.TORN, 8)],
    ids=["keeper-before", "keeper-after", "kept"],
)
def test_a_placed_worker_or_its_keeper_killed_at_a_call_leaves_one_verdict(
    lab: Lab, role: Role, mode: Mode, least: int
) -> None:
    assert lab.every(PLACED, mode=mode, role=role) >= least


@pytest.mark.slow
@pytest.mark.fault("P4")
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", SCENARIOS)
def test_killed_again_at_every_call_of_its_recovery_it_still_loses_nothing(
    lab: Lab, name: str
) -> None:
    count = 0
    for first in range(5, 230, 37):
        second = 1
        while lab.at(SCENARIOS[name], Crash(at=first), Crash(at=second)):
            count += 1
            second += 3
    print(f"{count} double points: {name}")
    assert count > 100


@pytest.mark.fault("P4")
def test_killed_again_while_it_recovers_it_still_loses_nothing(lab: Lab) -> None:
    for first, second in [(35, 9), (90, 30), (120, 20), (150, 45), (170, 40), (190, 15)]:
        lab.at(SEVERAL, Crash(at=first), Crash(at=second), Crash(at=second + 7, mode=Mode.TORN))


@pytest.mark.fault("P4")
def test_a_worker_and_then_the_supervisor_killed_leave_one_verdict_each(lab: Lab) -> None:
    for worker, boss in [(2, 12), (6, 20), (9, 30), (12, 8)]:
        lab.at(FAMILY, Crash(at=worker, role=Role.WORKER), Crash(at=boss))

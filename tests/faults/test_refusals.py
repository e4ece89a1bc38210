"""The disk refuses, delays or cuts short any call: no run is lost, doubled or failed for it."""

import pytest

from tests.faults.engine.lab import Lab
from tests.faults.engine.refusal import refuse_every
from tests.faults.engine.scenario import FAMILY, REQUESTS, SEVERAL, SUBMIT
from tests.faults.engine.shim import Mode, Role

ONCE = [Mode.NO_SPACE, Mode.NO_QUOTA, Mode.BROKEN]
FOR_GOOD = [Mode.NO_SPACE_ANY_MORE, Mode.BROKEN_FOR_GOOD]
SCENARIOS = {"several": SEVERAL, "family": FAMILY, "requests": REQUESTS, "submit": SUBMIT}


@pytest.mark.slow
@pytest.mark.fault("F1", "F5", "F6", "F10", "F19")
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("mode", [*ONCE, *FOR_GOOD, Mode.SHORT, Mode.SLOW])
@pytest.mark.parametrize("name", SCENARIOS)
def test_every_call_of_a_supervisor_may_be_refused(lab: Lab, name: str, mode: Mode) -> None:
    assert refuse_every(lab, SCENARIOS[name], mode) >= 10


@pytest.mark.slow
@pytest.mark.fault("F1", "F5", "F6", "F10", "F19")
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("mode", [*ONCE, Mode.SHORT, Mode.SLOW])
@pytest.mark.parametrize("name", ["several", "family"])
def test_every_call_of_a_worker_may_be_refused(lab: Lab, name: str, mode: Mode) -> None:
    # The first call is the lock that it was handed: no write, and no run without it.
    assert refuse_every(lab, SCENARIOS[name], mode, role=Role.WORKER, first=2) >= 11


@pytest.mark.fault("F1", "F5", "F6", "F19")
@pytest.mark.parametrize(
    ("name", "mode", "first", "step"),
    [
        ("several", Mode.NO_SPACE, 5, 61),
        ("several", Mode.NO_SPACE_ANY_MORE, 100, 97),
        ("submit", Mode.BROKEN_FOR_GOOD, 2, 5),
        ("family", Mode.BROKEN, 30, 71),
        ("requests", Mode.NO_QUOTA, 11, 53),
        ("several", Mode.SHORT, 7, 59),
    ],
)
def test_a_call_of_a_supervisor_may_be_refused(
    lab: Lab, name: str, mode: Mode, first: int, step: int
) -> None:
    assert refuse_every(lab, SCENARIOS[name], mode, first=first, step=step) >= 1


@pytest.mark.fault("F1", "F5", "F6", "F10", "F19")
@pytest.mark.parametrize(
    ("mode", "first"),
    [(Mode.NO_SPACE, 3), (Mode.BROKEN, 6), (Mode.SHORT, 4), (Mode.SLOW, 5)],
)
def test_a_call_of_a_worker_may_be_refused(lab: Lab, mode: Mode, first: int) -> None:
    assert refuse_every(lab, SEVERAL, mode, role=Role.WORKER, first=first, step=7) >= 1

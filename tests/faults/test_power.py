"""The power goes at a mutating call: what was acknowledged is there when it comes back.

The roots are on an ext4 file system of their own, which is shut down without a flush; then all
processes are killed, and what the disk holds is mounted again.
"""

import pytest

from tests.faults.engine.lab import Lab
from tests.faults.engine.plants import UNFLUSHED
from tests.faults.engine.scenario import FAMILY, PLACED, REQUESTS, SEVERAL, SUBMIT
from tests.faults.engine.shim import Mode, Role

pytestmark = pytest.mark.fault("F16", "F17")
SCENARIOS = {"several": SEVERAL, "family": FAMILY, "requests": REQUESTS}


def test_the_power_goes_at_a_call_of_the_supervisor(power_lab: Lab) -> None:
    assert power_lab.every(SEVERAL, mode=Mode.CUT, first=4, step=15) >= 10


def test_the_power_goes_at_a_call_of_a_worker(power_lab: Lab) -> None:
    assert power_lab.every(SEVERAL, mode=Mode.CUT, role=Role.WORKER) >= 12


def test_the_power_goes_at_a_call_of_submit(power_lab: Lab) -> None:
    assert power_lab.every(SUBMIT, mode=Mode.CUT) >= 10


@pytest.mark.fault("P31")
def test_the_power_goes_at_a_call_of_a_supervisor_whose_runs_an_engine_places(
    power_lab: Lab,
) -> None:
    assert power_lab.every(PLACED, mode=Mode.CUT, first=6, step=29) >= 9


def test_a_verdict_that_its_writer_has_not_flushed_yet_is_not_told(power_lab: Lab) -> None:
    power_lab.plants = (UNFLUSHED,)
    assert power_lab.every(SEVERAL, mode=Mode.CUT, first=90, step=9) >= 5


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("role", [Role.SUPERVISOR, Role.WORKER])
@pytest.mark.parametrize("name", SCENARIOS)
def test_the_power_goes_at_every_call(power_lab: Lab, name: str, role: Role) -> None:
    enough = 150 if role is Role.SUPERVISOR else 12
    assert power_lab.every(SCENARIOS[name], mode=Mode.CUT, role=role) > enough

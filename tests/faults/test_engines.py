"""Two engines that share nothing agree on where a supervisor can be killed, and on what follows."""

from pathlib import Path

import pytest

from tests.faults.engine import traced
from tests.faults.engine.lab import Lab
from tests.faults.engine.scenario import SEVERAL
from tests.faults.engine.shim import calls
from tests.faults.engine.traced import CALLS

WORDS = list(SEVERAL.words)
pytestmark = [
    pytest.mark.fault("P1"),
    pytest.mark.skipif(traced.available() is not None, reason=str(traced.available())),
]


def test_the_shim_misses_no_call_that_the_kernel_sees(lab: Lab, shim: Path) -> None:
    point = lab.point(SEVERAL)
    point.prepare()
    told = {
        "LD_PRELOAD": str(shim),
        "CRASHPOINT_BELOW": str(point.place.root),
        "CRASHPOINT_ROLE": "-m supervisor",
        "CRASHPOINT_AT": "0",
        "CRASHPOINT_MODE": "count",
        "CRASHPOINT_LOG": str(point.place.notes / "calls"),
    }
    seen = traced.profile(point.place, WORDS, preload=told)
    assert len(seen) > 100
    assert [CALLS[call.name] for call in seen] == [c.split()[1] for c in calls(point.place)]


def killed_by_strace(lab: Lab, *, step: int) -> int:
    """Kill at every ``step``-th call that a first run had; returns how many points there were."""
    first = lab.point(SEVERAL)
    first.prepare()
    count = 0
    for at in traced.profile(first.place, WORDS)[::step]:
        point = lab.point(SEVERAL)
        point.prepare()
        count += traced.kill(point.place, WORDS, at)
        point.recover()
    print(f"{count} points killed by strace, in steps of {step}")
    return count


def test_killed_by_strace_at_a_call_nothing_is_lost(lab: Lab) -> None:
    assert killed_by_strace(lab, step=30) >= 4


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_by_strace_at_every_call_nothing_is_lost(lab: Lab) -> None:
    assert killed_by_strace(lab, step=1) > 100

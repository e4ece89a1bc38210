"""One point where the disk refuses, delays or cuts short a call, and everything that must hold."""

from tests.faults.engine.lab import Lab
from tests.faults.engine.scenario import Scenario
from tests.faults.engine.shim import Crash, Mode, Role, calls

CANNOT_WRITE = 73
FOR_GOOD = (Mode.NO_SPACE_ANY_MORE, Mode.BROKEN_FOR_GOOD)


def refuse(lab: Lab, scenario: Scenario, crash: Crash) -> bool:
    """Let one call be refused; False where there is none with that number.

    Refused once: nobody notices but by a delay, or the start says 73 in a line before it took
    anything on. Refused for good: 73, and what was accepted is done by the next start. Never is a
    run lost, doubled or failed for it, and never a temporary file left by somebody alive.
    """
    point = lab.point(scenario)
    if crash.mode in FOR_GOOD:
        point.settings = "owed_wait_s = 0.1"
    point.prepare()
    died = point.run(crash)
    reached = len(calls(point.place)) >= crash.at
    call = (calls(point.place) or ["nowhere"])[crash.at - 1 if reached else -1]
    try:
        assert "Traceback" not in died.errors, died.errors
        assert died.code in {*scenario.codes, CANNOT_WRITE}, f"{died.code}: {died.errors}"
        if died.code == CANNOT_WRITE:
            told = died.errors.splitlines()
            assert told, "73 without a word"
            assert crash.mode in FOR_GOOD or len(told) == 1, died.errors
        elif crash.mode not in FOR_GOOD and crash.role is Role.SUPERVISOR:
            left = [p for p in point.place.root.rglob("*.tmp")]
            assert not left, f"temporary files are left: {left}"
        point.recover()
    except Exception as error:
        error.add_note(f"refused: {call}; the root: {point.place.root}")
        raise
    lab.remove(point)
    return reached


def refuse_every(
    lab: Lab,
    scenario: Scenario,
    mode: Mode,
    *,
    role: Role = Role.SUPERVISOR,
    first: int = 1,
    step: int = 1,
) -> int:
    """Refuse every ``step``-th call from the ``first`` on; how many there were, printed too."""
    at, count = first, 0
    while refuse(lab, scenario, Crash(at=at, mode=mode, role=role)):
        at += step
        count += 1
    print(f"{count} refusals: {role.name.lower()}, {mode}, from call {first} in steps of {step}")
    return count

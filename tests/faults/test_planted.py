"""The harness finds bugs: each planted one makes some point fail."""

import contextlib
from pathlib import Path

import pytest

from tests.faults.engine import disk as disks
from tests.faults.engine.client import serving
from tests.faults.engine.lab import Lab
from tests.faults.engine.plants import NO_BUGS, PLANTS, UNFLUSHED
from tests.faults.engine.scenario import (
    HOSTED,
    LIVING,
    SEVERAL,
    SUBMIT,
    TAKEN_OVER,
    Scenario,
)
from tests.faults.engine.shim import Mode, Role

BOSS, WORKER = Role.SUPERVISOR, Role.WORKER
FOUND_BY: dict[str, tuple[Scenario, Mode, Role]] = {
    "manifest-in-place": (SEVERAL, Mode.TORN, BOSS),
    "printed-before-recorded": (SEVERAL, Mode.BEFORE, BOSS),
    "history-without-looking": (SEVERAL, Mode.BEFORE, BOSS),
    "temporary-files-stay": (SEVERAL, Mode.BEFORE, BOSS),
    "marker-removed-early": (SEVERAL, Mode.BEFORE, BOSS),
    "directory-before-marker": (SEVERAL, Mode.BEFORE, BOSS),
    "request-removed-early": (SEVERAL, Mode.AFTER, BOSS),
    "torn-history-stays": (SEVERAL, Mode.TORN, BOSS),
    "torn-line-joined": (SEVERAL, Mode.TORN, WORKER),
    "living-taken-for-dead": (LIVING, Mode.BEFORE, BOSS),
    "hosted-worker-taken-for-dead": (TAKEN_OVER, Mode.BEFORE, BOSS),
    "gone-caller-unnoticed": (HOSTED, Mode.AFTER, BOSS),
    "batch-again": (SEVERAL, Mode.BEFORE, BOSS),
    "unclaimed": (LIVING, Mode.BEFORE, BOSS),
    "verdict-unflushed": (LIVING, Mode.CUT, BOSS),
    "flush-of-files-left-out": (SEVERAL, Mode.CUT, BOSS),
    "flush-of-directories-left-out": (SUBMIT, Mode.CUT, BOSS),
}
SKIPS = {"flush-of-files-left-out": "file,dir", "flush-of-directories-left-out": "dir"}
QUICK = {
    "temporary-files-stay",
    "torn-line-joined",
    "batch-again",
    "request-removed-early",
    "flush-of-directories-left-out",
    "flush-of-files-left-out",
}


def test_every_planted_bug_is_looked_for() -> None:
    assert (set(PLANTS) | set(SKIPS)) - {UNFLUSHED} - NO_BUGS == set(FOUND_BY)


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[] if n in QUICK else pytest.mark.slow) for n in FOUND_BY]
)
def test_a_planted_bug_is_found(shim: Path, tmp_path: Path, name: str) -> None:
    scenario, mode, role = FOUND_BY[name]
    with contextlib.ExitStack() as stack:
        disk = None
        if mode is Mode.CUT:
            if (why := disks.available()) is not None:
                pytest.skip(why)
            disk = stack.enter_context(disks.loop_disk(tmp_path))
        lab = Lab(
            server=stack.enter_context(serving(shim, tmp_path / "xdg")),
            directory=tmp_path,
            disk=disk,
            plants=() if name in SKIPS else (name,),
            skip=SKIPS.get(name, ""),
        )
        found = lab.finds(scenario, mode=mode, role=role)
    assert found, "the harness is blind to it"
    print(f"{name}: {found}")

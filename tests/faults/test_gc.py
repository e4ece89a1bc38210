"""``gc`` killed, or refused, at every call: each run is there whole or not at all."""

import json
import os
from pathlib import Path

import pytest

from supervisor.report.verify.verify_root import verify
from tests.faults.engine.lab import Lab
from tests.faults.engine.scenario import Scenario
from tests.faults.engine.shim import Crash, Mode, calls, clear
from tests.root import Root

GC = ["gc", "--keep-runs", "1", "--yes"]
BEFORE = Scenario(
    before=(("start", "--once", "good", "good"), ("start", "--once", "good")),
    expected={},
    runs_count=3,
    codes=frozenset({0}),
)


def whole(run: Path) -> bool:
    names = ("spec.json", "manifest.json", "journal.ndjson", ".owner", ".heartbeat")
    return all((run / name).is_file() for name in names) and len(os.listdir(run / "commands")) == 2


@pytest.mark.fault("P1", "F1", "F6")
@pytest.mark.parametrize(("mode", "first"), [(Mode.BEFORE, 1), (Mode.AFTER, 3), (Mode.BROKEN, 2)])
def test_a_gc_that_ends_at_a_call_leaves_each_run_whole_or_gone(
    lab: Lab, mode: Mode, first: int
) -> None:
    assert go_through(lab, mode, first, step=4) >= 5


@pytest.mark.slow
@pytest.mark.fault("P1", "F1", "F6")
@pytest.mark.parametrize("mode", [Mode.BEFORE, Mode.AFTER, Mode.BROKEN])
def test_a_gc_that_ends_at_every_call_leaves_each_run_whole_or_gone(lab: Lab, mode: Mode) -> None:
    assert go_through(lab, mode, 1, step=1) > 20


def go_through(lab: Lab, mode: Mode, first: int, step: int) -> int:
    """Crash at every ``step``-th call from the ``first`` on; how many points there were."""
    at, count = first, 0
    while True:
        point = lab.point(BEFORE)
        point.prepare()
        root = Root(point.place.root)
        cli = root.path / ".runs/default/cli"
        kept = root.history()[-1]["runId"]
        clear(point.place)
        died = lab.server.supervise(GC, point.place, Crash(at=at, mode=mode))
        assert "Traceback" not in died.errors, died.errors
        reached = len(calls(point.place)) >= at
        left = {path.name for path in cli.iterdir() if path.name != ".removed"}
        assert kept in left
        for name in left:
            assert whole(cli / name), f"{name} is half there after call {at}"
        assert list(verify(root.layout)) == []
        again = lab.server.supervise([*GC, "--json"], point.place, Crash())
        assert again.code == 0
        assert {run["run_id"] for run in json.loads(again.printed)["runs"]} == left - {kept}
        assert {path.name for path in cli.iterdir()} == {kept}
        assert list(verify(root.layout)) == []
        lab.remove(point)
        if not reached:
            return count
        at, count = at + step, count + 1

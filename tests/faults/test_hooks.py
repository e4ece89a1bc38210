"""A supervisor killed at a call: no hook is started twice, and every one is accounted for."""

import json
import os
from pathlib import Path

import pytest

from tests.faults.engine.lab import Lab
from tests.faults.engine.point import Point
from tests.faults.engine.scenario import MARK, Scenario
from tests.faults.engine.shim import Crash, Mode
from tests.root import Root

HOOK = "echo $SUPERVISED_RUN_ID $SUPERVISED_HOOK 1 >> $MARKS"
HOOKED = Scenario(
    batch=f"""
[[runs]]
pipeline = "good"
[[runs]]
pipeline = "bad"
[pipelines.good]
on_success = "{HOOK}"
on_finish = "{HOOK}"
stages = [{{ id = "s", command = "{MARK}" }}]
[pipelines.bad]
on_failure = "{HOOK}"
stages = [{{ id = "s", command = "{MARK}; exit 3" }}]
""",
    words=("start", "--once", "--batch", "batch.toml"),
    expected={"good": "succeeded", "bad": "failed"},
    runs_count=2,
    codes=frozenset({10}),
)


@pytest.mark.fault("P1")
@pytest.mark.parametrize(("mode", "first"), [(Mode.BEFORE, 45), (Mode.AFTER, 48), (Mode.TORN, 51)])
def test_a_supervisor_killed_at_a_call_starts_no_hook_twice(
    lab: Lab, mode: Mode, first: int
) -> None:
    assert go_through(lab, mode, first, step=17) >= 3


@pytest.mark.slow
@pytest.mark.fault("P1")
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("mode", [Mode.BEFORE, Mode.AFTER, Mode.TORN])
def test_a_supervisor_killed_at_every_call_starts_no_hook_twice(lab: Lab, mode: Mode) -> None:
    assert go_through(lab, mode, 1, step=1) > 100


@pytest.mark.slow
@pytest.mark.fault("F16")
@pytest.mark.timeout(1800)
def test_power_cut_leaves_no_hook_record_empty(power_lab: Lab) -> None:
    assert power_lab.every(HOOKED, mode=Mode.CUT, first=40, step=3) >= 10


def go_through(lab: Lab, mode: Mode, first: int, step: int) -> int:
    """Crash at every ``step``-th call from the ``first`` on; how many points there were."""
    at, count = first, 0
    while True:
        point = lab.point(HOOKED)
        point.prepare()
        reached = point.crash(Crash(at=at, mode=mode))
        point.recover()  # which holds that no line of the marks is there twice
        check(point)
        lab.remove(point)
        if not reached:
            return count
        at, count = at + step, count + 1


def check(point: Point) -> None:
    """Every hook has its record; it ran where that says so."""
    root = Root(point.place.root)
    assert os.listdir(root.layout.hooks) == []
    marks = (point.place.notes / "marks").read_text().splitlines()
    expected = {"good": {"on_success", "on_finish"}, "bad": {"on_failure"}}
    for manifest in root.manifests():
        run = Path(root.path / manifest["artifact_root"])
        records = {p.stem: json.loads(p.read_text()) for p in (run / "hooks").glob("*.json")}
        assert set(records) == expected[manifest["pipeline_id"]]
        for event, record in records.items():
            ran = f"{manifest['run_id']} {event} 1" in marks
            assert record["status"] in ("succeeded", "interrupted"), record
            assert ran or record["status"] == "interrupted", record

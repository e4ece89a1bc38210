"""A wall clock that jumps, that is wrong from the start, or that another zone reads."""

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.examples import run_spec
from tests.root import SETTINGS, Root, alive, wait_until
from workers.records.clock import epoch_of
from workers.records.ids import is_run_id, new_run_id

HOUR_S, DAY_S = 3_600, 86_400
HOLD = (
    '[pipelines.p]\ntimeout_s = 300\nstages = [{ id = "s", timeout_s = 200, '
    'command = "echo >> begun; while ! test -e go; do sleep 0.05; done" }]\n'
)


@dataclass
class Wrong:
    """The clock of everything that is started with ``env``."""

    env: dict[str, str]
    file: Path

    def shift(self, seconds: float) -> None:
        self.file.with_suffix(".new").write_text(str(int(seconds)))
        self.file.with_suffix(".new").replace(self.file)


@pytest.fixture
def wrong(clock_shim: Path, tmp_path: Path) -> Wrong:
    file = tmp_path / "offset"
    file.write_text("0")
    return Wrong({"LD_PRELOAD": str(clock_shim), "CLOCKSHIFT_FILE": str(file)}, file)


def begun(root: Root) -> int:
    path = root.path / "begun"
    return len(path.read_text().splitlines()) if path.exists() else 0


@pytest.mark.parametrize(
    "jump_s",
    [
        pytest.param(-HOUR_S, marks=pytest.mark.fault("T1")),
        pytest.param(DAY_S, marks=pytest.mark.fault("T2")),
    ],
)
def test_a_clock_that_jumps_ends_no_run_and_stretches_nothing(
    root: Root, wrong: Wrong, jump_s: int
) -> None:
    root.configure(HOLD)
    began = time.time()
    process = root.popen("start", "--once", "p", "p", "p", env=wrong.env)
    wait_until(lambda: begun(root) == 3, "all stages run")
    wrong.shift(jump_s)

    def told() -> bool:
        """Every manifest was written anew since the jump: the throttle was not stretched."""
        beats = [m["heartbeat_at"] for m in root.manifests()]
        return all(b and abs(epoch_of(b) - began - jump_s) < HOUR_S / 2 for b in beats)

    wait_until(told, "the manifests show beats of after the jump")
    view = root.call("status", "--json", env=wrong.env).json()["runs"]
    assert [(r["status"], r["note"]) for r in view] == [("in_progress", None)] * 3
    assert all(r["duration_s"] >= 0 for r in view)
    root.write("go", "")
    assert root.finish(process).code == 0
    for manifest in root.manifests():
        assert manifest["completed_at"] >= manifest["started_at"]
        assert 0 <= manifest["extensions"]["duration_s"] < time.time() - began
        (stage,) = manifest["commands"]
        assert stage["completed_at"] >= stage["started_at"]
    root.check_settled(count=3)


@pytest.mark.fault("T5")
def test_runs_of_1970_and_of_2099_are_told_apart_and_have_no_negative_age(
    root: Root, wrong: Wrong
) -> None:
    years = {"1970": 60 - time.time(), "2099": epoch_of("2099-06-01T00:00:00.000Z") - time.time()}
    for year, offset_s in years.items():
        wrong.shift(offset_s)
        assert root.call("run", "--", "true", env=wrong.env).code == 0
        assert root.call("run", "--task", year, "--", "true", env=wrong.env).code == 0
    assert root.call("run", "--", "true").code == 0
    wait_until(lambda: not os.listdir(root.layout.accepted), "all is settled")
    ids = [m["run_id"] for m in root.manifests()]
    assert [i[:4] for i in sorted(ids)] == ["1970", time.strftime("%Y", time.gmtime()), "2099"]
    assert len(set(ids)) == 3
    rows = root.call("status", "--json").json()["runs"]
    assert all(row["duration_s"] >= 0 for row in rows)
    root.check_settled(count=3)


@pytest.mark.fault("T5", "T1")
def test_a_run_that_began_in_the_future_has_no_negative_age(root: Root, wrong: Wrong) -> None:
    root.configure(HOLD)
    wrong.shift(DAY_S)
    process = root.popen("start", "--once", "p", env=wrong.env)
    wait_until(lambda: begun(root) == 1, "the stage runs")
    (row,) = root.call("status", "--json").json()["runs"]
    assert (row["status"], row["duration_s"]) == ("in_progress", 0.0)
    root.write("go", "")
    assert root.finish(process).code == 0


@pytest.mark.fault("T6")
def test_a_thousand_runs_of_one_millisecond_have_a_thousand_ids() -> None:
    ids = {new_run_id(epoch_s=1e9, entropy=os.urandom(4)) for _ in range(1000)}
    assert len(ids) == 1000
    assert all(is_run_id(i) for i in ids)


@pytest.mark.fault("T6")
def test_a_run_whose_id_is_taken_is_the_run_that_has_it(root: Root) -> None:
    """Ids are chosen by who asks, so a repeated one means the same run, never a second one."""
    from supervisor.store.intake import Intake
    from workers.records.clock import SystemClock

    intake = Intake(root.layout, SystemClock())
    spec = run_spec()
    assert len(list(intake.accept([spec, run_spec(run_id=spec.run_id[:-1] + "d")]))) == 2
    assert [again.spec.run_id for again in intake.accept([spec])] == [spec.run_id]
    assert len(os.listdir(root.layout.runs_of(spec.task_id))) == 2


@pytest.mark.fault("T8")
@pytest.mark.parametrize("zone", ["America/New_York", "Pacific/Kiritimati", "XYZ-13:30"])
def test_a_time_zone_changes_no_record(root: Root, zone: str) -> None:
    before = time.time()
    assert root.call("run", "--", "true", env={"TZ": zone}).code == 0
    (manifest,) = root.manifests()
    beats = root.path / manifest["artifact_root"] / ".heartbeat"
    for text in (manifest["started_at"], manifest["completed_at"], *beats.read_text().split()):
        assert text.endswith("Z")
        assert before - 1 < epoch_of(text) < time.time() + 1
    assert manifest["run_id"][:13] == time.strftime("%Y-%m-%dT%H", time.gmtime(before)) or (
        time.gmtime().tm_hour != time.gmtime(before).tm_hour
    )


@pytest.mark.fault("T3", "P7")
def test_a_machine_that_slept_declares_nobody_dead(root: Root) -> None:
    quick = SETTINGS.replace("hung_after_s = 30.0", "hung_after_s = 2.5")
    root.write("config/supervisor.toml", f"{quick}\n{HOLD}")
    process = root.popen("start", "--once", "p", "p")
    wait_until(lambda: begun(root) == 2, "all stages run")
    workers = alive(f"workers\0{root.path}")
    everybody = [process.pid, *workers, *root.stages()]
    assert len(workers) == 2
    for pid in everybody:
        with suppress(ProcessLookupError):  # a stage's sleep may have ended
            os.kill(pid, signal.SIGSTOP)
    slept = time.monotonic()
    wait_until(lambda: time.monotonic() - slept > 5.0, "twice what makes a worker hung")
    for pid in everybody:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
    (beats,) = [sorted((root.path / ".runs/default/cli").glob("*/.heartbeat"))]
    seen = [path.stat().st_mtime_ns for path in beats]
    wait_until(
        lambda: all(p.stat().st_mtime_ns > at for p, at in zip(beats, seen, strict=True)), "beats"
    )
    root.write("go", "")
    assert root.finish(process).code == 0
    root.check_settled(count=2)


@pytest.mark.fault("T9")
def test_after_the_clock_was_set_back_the_order_of_acceptance_counts(
    root: Root, wrong: Wrong
) -> None:
    """Of what waits in the inbox, of what a start takes up, and of what has finished."""
    root.configure("", "max_runs = 1\n")
    run = 'echo "$SUPERVISED_RUN_ID" >> ran'
    wrong.shift(DAY_S)
    first = root.call("submit", "--", "sh", "-c", run, env=wrong.env).out.strip()
    cancelled = root.call("submit", "--", "true", env=wrong.env).out.strip()
    second = root.call("submit", "--", "sh", "-c", run).out.strip()
    assert root.call("cancel", cancelled).code in (0, 75)
    assert second < first
    assert root.call("show", "latest", "--json").json()["manifest"]["run_id"] == second
    assert root.call("start", "--once").code == 0
    assert (root.path / "ran").read_text().split() == [first, second]
    assert {m["run_id"]: m["status"] for m in root.manifests()}[cancelled] == "cancelled"
    assert root.call("show", "latest", "--json").json()["manifest"]["run_id"] == second
    root.check_settled(count=3)
    doctor = root.call("doctor").out
    assert "in the future" in doctor


@pytest.mark.fault("T9")
def test_a_start_takes_up_queued_runs_as_they_were_accepted(root: Root, wrong: Wrong) -> None:
    root.configure("", "max_runs = 1\n")
    root.call("pause")
    first = root.serving()
    run = 'echo "$SUPERVISED_RUN_ID" >> ran'
    wrong.shift(DAY_S)
    words = ("submit", "--", "sh", "-c", run)
    asked = [root.call(*words, env=wrong.env).out.strip(), root.call(*words).out.strip()]
    wait_until(lambda: len(os.listdir(root.layout.accepted)) == 2, "both are accepted")
    root.stop(first)
    root.call("resume")
    assert root.call("start", "--once").code == 0
    assert (root.path / "ran").read_text().split() == asked
    root.check_settled(count=2)

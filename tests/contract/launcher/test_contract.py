"""What holds for every launcher: one verdict per run, each stage once, nothing left alive."""

import json
import os
import signal
from pathlib import Path

import pytest

from tests.contract.launcher.kinds import Bench
from tests.contract.launcher.runs import PIPELINES, cancel, holding, ran, verdict_of, worker_of
from tests.root import alive, wait_until


@pytest.fixture(autouse=True)
def _pipelines(bench: Bench) -> None:
    bench.configure(PIPELINES)


def test_every_run_gets_its_verdict_and_each_stage_runs_once(bench: Bench) -> None:
    done = bench.call("start", "--once", "good", "bad", "good", "sub")
    assert done.code == 10, done.err
    assert len(ran(bench)) == len(set(ran(bench))) == 4
    statuses = sorted(line["status"] for line in bench.history())
    assert statuses == ["failed", "succeeded", "succeeded", "succeeded", "succeeded"]
    bench.check_settled(count=5)


def test_killed_worker_is_lost_and_leaves_no_process(bench: Bench) -> None:
    process = bench.serving()
    lost, other = holding(bench, 2)
    os.kill(worker_of(bench, lost), signal.SIGKILL)
    assert bench.call("wait", lost).code == 12
    assert verdict_of(bench, lost)["detail"] == "worker-lost"
    assert "SIGKILL" in str(verdict_of(bench, lost)["reason"])
    wait_until(lambda: not alive(f"SUPERVISED_RUN_ID={lost}"), "nothing of it is alive")
    assert bench.stages(), "the other run is at work"
    bench.write("go", "")
    assert bench.call("wait", other).code == 0
    bench.stop(process)
    bench.check_settled(count=2)


def test_run_is_cancelled_within_its_time(bench: Bench) -> None:
    process = bench.serving()
    (run_id,) = holding(bench, 1)
    cancel(bench, run_id)
    wait_until(lambda: not bench.stages(), "nothing of it is alive")
    bench.stop(process)
    bench.check_settled(count=1)


def test_runs_of_a_killed_supervisor_are_adopted_and_no_stage_runs_twice(bench: Bench) -> None:
    process = bench.serving()
    holding(bench, 2)
    process.kill()
    process.wait()
    again = bench.popen("start", "--once")
    wait_until(
        lambda: [line for line in bench.log() if line["event"] == "run_adopted"][1:], "adopted"
    )
    bench.write("go", "")
    assert bench.finish(again).code == 0
    assert len(ran(bench)) == len(set(ran(bench))) == 2
    bench.check_settled(count=2)


def test_stopped_supervisor_leaves_no_process(bench: Bench) -> None:
    process = bench.serving()
    holding(bench, 2)
    bench.stop(process)
    assert not bench.stages()
    assert {line["statusDetail"] for line in bench.history()} == {"stopped"}
    bench.check_settled(count=2)


def test_workers_left_running_are_adopted(bench: Bench) -> None:
    process = bench.serving()
    holding(bench, 2)
    assert bench.call("stop", "--leave-running").code == 0
    bench.finish(process)
    assert len(bench.stages()) >= 2
    bench.write("go", "")
    assert bench.call("start", "--once").code == 0
    assert len(ran(bench)) == 2
    bench.check_settled(count=2)


def test_run_ends_if_its_directory_is_deleted(bench: Bench) -> None:
    process = bench.serving()
    (run_id,) = holding(bench, 1)
    (bench.path / ".runs/default/cli" / run_id).rename(bench.path / "aside")
    assert bench.call("wait", run_id).code == 12
    wait_until(lambda: not bench.stages(), "nothing of it is alive")
    assert verdict_of(bench, run_id)["detail"] == "run-dir-deleted"
    bench.stop(process)


def test_output_and_manifest_are_as_with_any_launcher(bench: Bench) -> None:
    assert bench.call("start", "--once", "good").code == 0
    (manifest,) = bench.manifests()
    assert manifest["status"] == "succeeded"
    assert manifest["extensions"]["worker"]["pid"] > 1
    path = Path(bench.layout.run_dir("default", manifest["run_id"]).manifest)
    assert json.loads(path.read_text()) == manifest

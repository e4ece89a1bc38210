"""Who does not beat: stopped, spinning, or not looked at because the supervisor itself was away."""

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from supervisor.config.settings import Settings
from tests.holding import holding, ran, worker_of, workers
from tests.root import Root, wait_until
from workers.records.proc import proc_stat

QUICK = {"SUPERVISOR_HUNG_AFTER_S": "1.5", "SUPERVISOR_HEARTBEAT_STALE_AFTER_S": "0.5"}

FULL = {
    f"SUPERVISOR_{key.upper()}": str(getattr(Settings(), key))
    for key in ("heartbeat_interval_s", "heartbeat_stale_after_s", "hung_after_s")
}


def start(root: Root, count: int, env: Mapping[str, str]) -> Any:
    holding(root, count)
    process = root.popen("start", "--once", "--batch", "batch.toml", env=env)
    wait_until(lambda: len(ran(root)) == count, "all stages run")
    return process


def pass_by(seconds: float) -> None:
    """Wait for the time itself to pass: what must not happen has had its chance."""
    until = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() >= until, "time passes", seconds + 60)


def notes(root: Root) -> list[str | None]:
    return [run["note"] for run in root.call("status", "--json").json()["runs"]]


@pytest.mark.fault("P6")
def test_a_stopped_worker_is_never_hung_and_succeeds_when_it_goes_on(root: Root) -> None:
    process = start(root, 1, QUICK)
    (worker,) = workers(root)
    os.kill(worker, signal.SIGSTOP)
    pass_by(2.5)
    assert notes(root) == ["unresponsive"]
    os.kill(worker, signal.SIGCONT)
    root.write("go", "")
    assert root.finish(process).code == 0
    root.check_settled(count=1)


@pytest.mark.fault("P6", "P7")
def test_a_supervisor_that_was_away_with_its_workers_declares_nobody_dead(root: Root) -> None:
    process = start(root, 3, QUICK)
    stopped = [process.pid, *workers(root)]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    pass_by(2.0)
    for pid in stopped:  # the supervisor first: nobody has beaten when it looks
        os.kill(pid, signal.SIGCONT)
    root.write("go", "")
    assert root.finish(process).code == 0
    assert {m["status"] for m in root.manifests()} == {"succeeded"}
    root.check_settled(count=3)


@pytest.mark.fault("P6")
def test_a_worker_that_neither_beats_nor_is_stopped_is_ended_as_hung(
    root: Root, shim: Path
) -> None:
    # The 40th mutating call of one worker never returns. Its stage writes nothing, so it is a beat.
    process = start(
        root,
        2,
        {
            **QUICK,
            "LD_PRELOAD": str(shim),
            "CRASHPOINT_BELOW": str(root.path),
            "CRASHPOINT_ROLE": "-m workers",
            "CRASHPOINT_FORKER": "workers.entry.zygote",
            "CRASHPOINT_CLAIM": str(root.path.parent / "claim"),
            "CRASHPOINT_AT": "40",
            "CRASHPOINT_MODE": "sleep:600000",
        },
    )
    wait_until(lambda: "failed" in [m["status"] for m in root.manifests()], "one is given up")
    (hung,) = [m for m in root.manifests() if m["status"] == "failed"]
    assert hung["status_detail"] == "worker-hung"
    assert "no heartbeat for" in hung["extensions"]["reason"]
    (other,) = [m for m in root.manifests() if m["status"] != "failed"]
    assert workers(root) == [worker_of(other["run_id"])]
    root.write("go", "")
    assert root.finish(process).code == 12
    assert [m["status"] for m in root.manifests() if m is not hung].count("succeeded") == 1
    root.check_settled(count=2)


@pytest.mark.slow
@pytest.mark.fault("P6")
@pytest.mark.timeout(600)
def test_a_worker_stopped_for_three_minutes_succeeds_at_full_values(root: Root) -> None:
    process = start(root, 2, FULL)
    (worker, _) = workers(root)
    os.kill(worker, signal.SIGSTOP)
    pass_by(180)
    assert set(notes(root)) == {None, "unresponsive"}
    stat = proc_stat(worker)
    assert stat is not None
    assert stat.state == "T"
    os.kill(worker, signal.SIGCONT)
    root.write("go", "")
    assert root.finish(process).code == 0
    root.check_settled(count=2)


@pytest.mark.slow
@pytest.mark.fault("P7")
@pytest.mark.timeout(600)
def test_a_supervisor_stopped_for_a_minute_declares_nobody_dead_at_full_values(root: Root) -> None:
    process = start(root, 5, FULL)
    process.send_signal(signal.SIGSTOP)
    pass_by(60)
    process.send_signal(signal.SIGCONT)
    root.write("go", "")
    assert root.finish(process).code == 0
    assert root.state()["totals"]["succeeded"] == 5
    root.check_settled(count=5)

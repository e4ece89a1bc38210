"""Processes that try to escape from a stage. Faults P12 to P15, P28, P29."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contract.worker.work import make, shell, work
from tests.examples import stage
from tests.root import alive, wait_until
from tests.storms import CHAIN, TREE
from workers.records.limits import Limits

LIMITS = Limits(heartbeat_interval_s=0.1, grace_s=0.2)


@pytest.mark.alone  # with other tests it could use up the pids of a machine
@pytest.mark.fault("P12", "P14")
@pytest.mark.parametrize("group", ["shared", "own"])
@pytest.mark.parametrize("script", [CHAIN, TREE], ids=["chain", "tree"])
def test_timeout_ends_a_fork_storm(tmp_path: Path, script: str, group: str) -> None:
    storm = stage("storm", command=(sys.executable, "-c", script, group), timeout_s=1.0)
    run = work(tmp_path, storm, limits=LIMITS)
    assert run.verdict["detail"] == "stage:storm:timed-out"
    assert run.verdict["leftover_pids"] == []
    assert run.verdict["heartbeat"]["failed"] == 0
    assert not alive(f"SUPERVISED_ROOT={tmp_path}")


@pytest.mark.alone  # with other tests it could use up the pids of a machine
@pytest.mark.fault("P12", "P13")
def test_fork_storm_left_by_a_stage_is_over_before_the_next_stage(tmp_path: Path) -> None:
    grow = f": > grown; {sys.executable} -c '{TREE}' own &"
    left = stage("left", command=f"{grow} until test $(wc -c < grown) -eq 128; do :; done")
    run = work(tmp_path, left, shell("true", "next"), limits=LIMITS)
    first, second = run.of("stage_ended")
    assert (first["status"], second["leftover_count"]) == ("succeeded", 0)
    assert first["leftover_count"] >= 128
    assert run.verdict["status"] == "succeeded"


@pytest.mark.fault("P13")
def test_daemon_gets_time_to_end_on_sigterm(tmp_path: Path) -> None:
    script = (
        "(trap 'sleep 0.2; echo bye > bye; exit' TERM; while :; do sleep 0.05; done) & sleep 0.3"
    )
    limits = Limits(heartbeat_interval_s=0.1, grace_s=5.0)
    run = work(tmp_path, shell(script), limits=limits)
    assert run.of("stage_ended")[0]["leftover_count"] >= 1
    assert (tmp_path / "bye").read_text() == "bye\n"


def test_output_after_sigterm_is_captured(tmp_path: Path) -> None:
    script = "trap 'seq 1 200000; echo swan; exit 0' TERM; echo begun; while :; do sleep 0.05; done"
    run = work(tmp_path, shell(script, timeout_s=0.4), limits=Limits(grace_s=20.0))
    assert run.log(1, "s").endswith(b"swan\n")
    assert run.of("stage_ended")[0]["reason"] == "timed-out"


@pytest.mark.fault("P23")
def test_pipe_held_open_by_a_stranger_is_closed_and_reported(tmp_path: Path) -> None:
    holder = (
        "import os, sys, time; fd = os.open(sys.argv[1], os.O_WRONLY); "
        "open('held', 'w').close(); time.sleep(600)"
    )
    run = make(
        tmp_path, [shell("echo $$ > pid; echo x; while ! test -e held; do sleep 0.02; done")]
    )
    process = run.start()
    wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(), "begun")
    pid = int((tmp_path / "pid").read_text())
    stranger = subprocess.Popen([sys.executable, "-c", holder, f"/proc/{pid}/fd/1"], cwd=tmp_path)
    try:
        process.communicate(timeout=60)
    finally:
        stranger.kill()
        stranger.wait()
    (ended,) = run.of("stage_ended")
    assert ended["output_incomplete"] is True
    assert ended["status"] == "succeeded"
    assert run.log(1, "s") == b"x\n"


# A process that no signal reaches (for example in state D): this worker sends none.
UNKILLABLE = """
import sys
from workers import __main__ as program
from workers.processes import containment, tree
from workers.stages import try_runner
containment.send_signal = tree.send_signal = lambda *_: False
containment.kill_group = tree.kill_group = lambda *_: None
tree._stop = lambda *_: None
try_runner.GIVE_UP_S = 0.3
sys.exit(program.main(["workers", sys.argv[1]]))
"""


@pytest.mark.fault("P28")
def test_process_that_survives_the_kill_is_recorded_and_the_run_continues(tmp_path: Path) -> None:
    stages = [shell("sleep 600 >&- 2>&- & echo $! > pid", "bad"), shell("true", "next")]
    run = make(tmp_path, stages, limits=LIMITS)
    process = run.start_script(UNKILLABLE)
    _, err = process.communicate(timeout=60)
    pid = int((tmp_path / "pid").read_text())
    try:
        assert b"Traceback" not in err, err.decode()
        first, second = run.of("stage_ended")
        assert (first["leftover_count"], second["leftover_count"]) == (1, 0)
        assert second["duration_s"] < 1.0
        assert run.verdict["leftover_pids"] == [pid]
        assert run.verdict["status"] == "succeeded"
    finally:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not alive(f"SUPERVISED_ROOT={tmp_path}"), "nothing is left")

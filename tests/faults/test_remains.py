"""What is left of a run whose worker was killed is killed, and nothing else is."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.holding import holding, ran, worker_of, workers
from tests.root import Root, wait_until
from tests.storms import CHAIN, TREE
from workers.records.proc import proc_stat

# Everything that could tell whose it is, is shed; then it tells where it is.
DAEMON = """
import os, sys, time
os.fork() and os._exit(0)
os.setsid()
os.fork() and os._exit(0)
os.closerange(0, 256)
with open("daemon.new", "w") as file:
    file.write(str(os.getpid()))
os.rename("daemon.new", "daemon")
time.sleep(600)
"""


def stages(root: Root, command: str) -> None:
    """One pipeline p with one stage."""
    root.configure(f"[pipelines.p]\nstages = [{{ id = 's', command = '''{command}''' }}]\n")


def kill_worker(root: Root) -> None:
    os.kill(worker_of(root.manifests()[0]["run_id"]), signal.SIGKILL)


def kill_both(root: Root, supervisor: "subprocess.Popen[str]") -> None:
    """The supervisor dies, then every worker: nobody is there to clear up."""
    supervisor.kill()
    root.finish(supervisor)
    for pid in workers(root):
        os.kill(pid, signal.SIGKILL)


def is_alive(pid: int) -> bool:
    stat = proc_stat(pid)
    return stat is not None and not stat.has_ended


def pid_in(path: Path) -> int:
    wait_until(path.exists, f"{path.name} is there")
    return int(path.read_text())


def check_lost(root: Root, count: int = 1) -> None:
    assert not root.stages()
    assert {m["status_detail"] for m in root.manifests()} == {"worker-lost"}
    root.check_settled(count=count)


@pytest.mark.alone  # with other tests it could use up the pids of a machine
@pytest.mark.fault("P5", "P14")
@pytest.mark.parametrize("group", ["shared", "own"])
@pytest.mark.parametrize("script", [CHAIN, TREE], ids=["chain", "tree"])
def test_a_fork_storm_whose_worker_is_killed_is_ended(root: Root, script: str, group: str) -> None:
    root.write("storm.py", script)
    stages(root, f"{sys.executable} storm.py {group}")
    process = root.popen("start", "--once", "p")
    wait_until(lambda: len(root.stages()) >= 8, "the storm blows")
    kill_worker(root)
    assert root.finish(process).code == 12
    check_lost(root)


@pytest.mark.alone  # with other tests it could use up the pids of a machine
@pytest.mark.fault("P5", "P14")
def test_a_crowd_that_nobody_watched_is_ended_by_the_next_start(root: Root) -> None:
    root.write("storm.py", TREE)
    stages(root, f"{sys.executable} storm.py own")
    process = root.popen("start", "--once", "p")
    grown = root.path / "grown"
    wait_until(lambda: grown.exists() and grown.stat().st_size == 128, "it is complete")
    kill_both(root, process)
    assert root.call("start", "--once").code == 12
    check_lost(root)


@pytest.mark.fault("P5", "P12")
def test_a_daemon_that_sheds_every_mark_is_gone_when_its_worker_was_killed(root: Root) -> None:
    root.write("daemon.py", DAEMON)
    stages(root, f"env -i {sys.executable} daemon.py; sleep 600")
    process = root.popen("start", "--once", "p")
    daemon = pid_in(root.path / "daemon")
    kill_worker(root)
    assert root.finish(process).code == 12
    assert not is_alive(daemon)
    check_lost(root)


@pytest.mark.fault("P5", "P12")
def test_an_unmarked_process_of_an_adopted_worker_is_found_in_its_session(root: Root) -> None:
    stages(root, "env -i sleep 600 & echo $! > new; mv new pid; sleep 600")
    first = root.popen("start", "--once", "p")
    unmarked = pid_in(root.path / "pid")
    first.kill()
    root.finish(first)
    second = root.popen("start", "--once")
    wait_until(lambda: "run_adopted" in [line["event"] for line in root.log()], "it is adopted")
    kill_worker(root)
    assert root.finish(second).code == 12
    assert not is_alive(unmarked)
    check_lost(root)


@pytest.mark.fault("P5")
def test_a_process_whose_first_thread_has_ended_is_no_zombie(root: Root) -> None:
    script = (
        "import ctypes, threading, time\nthreading.Thread(target=time.sleep, args=[600]).start()"
    )
    root.write("headless.py", script + "\nctypes.CDLL(None).syscall(60, 0)\n")
    stages(root, f"{sys.executable} headless.py & echo $! > new; mv new pid; sleep 600")
    process = root.popen("start", "--once", "p")
    headless = pid_in(root.path / "pid")

    def is_headless() -> bool:
        stat = proc_stat(headless)
        return stat is not None and stat.state == "Z"

    wait_until(is_headless, "its first thread has ended")
    kill_worker(root)
    assert root.finish(process).code == 12
    assert not is_alive(headless)
    check_lost(root)


@pytest.mark.fault("P5", "P16")
@pytest.mark.parametrize("before", ["", "setsid "], ids=["our session", "its own"])
def test_what_a_shell_began_before_it_became_the_supervisor_is_left_alone(
    root: Root, before: str
) -> None:
    holding(root, 1)
    script = f"{before}sleep 600 >/dev/null 2>&1 & echo $! > new; mv new pid; "
    script += f'exec "{sys.executable}" -m supervisor start --once --batch batch.toml'
    process = root.shell(script)
    stranger = pid_in(root.path / "pid")
    try:
        wait_until(lambda: len(ran(root)) == 1, "the stage runs")
        kill_worker(root)
        assert root.finish(process).code == 12
        assert is_alive(stranger)
    finally:
        os.kill(stranger, signal.SIGKILL)
    check_lost(root)


@pytest.mark.fault("P53")
def test_what_a_hook_leaves_behind_is_no_part_of_another_lost_run(root: Root) -> None:
    agent = "(sleep 600 >/dev/null 2>&1 & echo $! > new; mv new pid)"
    root.configure(
        f"[pipelines.ok]\non_success = \"exec setsid -w sh -c '{agent}'\"\n"
        'stages = [{ id = "s", command = "true" }]\n'
        '[pipelines.p]\nstages = [{ id = "s", command = "sleep 600" }]\n'
    )
    supervisor = root.serving()
    root.call("submit", "ok")
    left = pid_in(root.path / "pid")
    try:
        lost = root.call("submit", "p").out.strip()
        root.wait_for_status(lost, "in_progress")
        os.kill(worker_of(lost), signal.SIGKILL)
        assert root.call("wait", lost).code == 12
        assert is_alive(left)
    finally:
        os.kill(left, signal.SIGKILL)
    root.stop(supervisor)


@pytest.mark.fault("P4", "P5")
def test_a_supervisor_that_a_lost_runs_own_stage_starts_does_not_kill_itself(root: Root) -> None:
    start = f'"{sys.executable}" -m supervisor start --once --root {root.path}'
    stages(root, f"touch begun; while ! test -e go; do sleep 0.05; done; {start}")
    process = root.popen("start", "--once", "p")
    wait_until((root.path / "begun").exists, "the stage runs")
    kill_both(root, process)
    root.write("go", "")
    wait_until(lambda: not os.listdir(root.layout.accepted), "its run is settled")
    wait_until(lambda: not root.stages(), "it has left")
    check_lost(root)

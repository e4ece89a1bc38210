"""Between the decision to start a worker and its first step."""

import os
import shutil
import signal
import sys
import threading
from pathlib import Path

import pytest

from supervisor.launchers.spawner import ExecSpawner, LaunchedWorker
from tests.contract.worker.work import Run, make, shell
from tests.faults.engine.lab import LAST_CALL, Lab
from tests.faults.engine.scenario import LIVING
from tests.faults.engine.shim import Crash, Mode, calls
from tests.holding import holding, ran
from tests.root import Root, wait_until
from workers.processes.tree import children
from workers.records.flock import is_flocked, take_flock

needs_strace = pytest.mark.skipif(not shutil.which("strace"), reason="there is no strace")


def launched(run: Run) -> LaunchedWorker:
    owner_fd = take_flock(run.run.owner)
    assert owner_fd is not None
    worker = ExecSpawner(str(run.root / "workers.log")).launch(run.run, owner_fd)
    os.close(owner_fd)
    assert isinstance(worker, LaunchedWorker)
    return worker


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_told_to_end_before_its_first_step_ends_with_a_verdict(
    tmp_path: Path, number: int
) -> None:
    run = make(tmp_path, [shell("touch ran")])
    worker = launched(run)
    os.kill(worker.pid, number)  # it has not begun to load its modules
    worker.reap()
    assert (run.verdict["status"], run.verdict["detail"]) == ("cancelled", "stopped")
    assert not (tmp_path / "ran").exists()


@pytest.mark.fault("P26")
def test_a_worker_does_not_end_with_the_thread_that_started_it(tmp_path: Path) -> None:
    run = make(tmp_path, [shell("touch begun; while ! test -e go; do sleep 0.02; done")])
    workers: list[LaunchedWorker] = []
    thread = threading.Thread(target=lambda: workers.append(launched(run)))
    thread.start()
    thread.join()
    wait_until((tmp_path / "begun").exists, "the stage runs")
    (tmp_path / "go").touch()
    workers[0].reap()
    assert run.verdict["status"] == "succeeded"


@needs_strace
@pytest.mark.fault("P10", "P11")
@pytest.mark.parametrize("error", ["EAGAIN", "ENOMEM"])
def test_a_spawn_that_is_refused_once_is_made_again(root: Root, error: str) -> None:
    assert _refusing(root, error, "1", count=2) == 0
    refused = [line["why"] for line in root.log() if line["event"] == "launch_failed"]
    assert len(refused) == 1
    assert refused[0].startswith(error)
    assert {m["status"] for m in root.manifests()} == {"succeeded"}
    root.check_settled(count=2)


@needs_strace
@pytest.mark.fault("P10", "P11")
def test_a_spawn_that_is_refused_again_and_again_fails_its_run_and_no_other(root: Root) -> None:
    assert _refusing(root, "EAGAIN", "2+", count=2) == 12
    details = sorted(str(m["status_detail"]) for m in root.manifests())
    assert details == ["None", "spawn-failed"]
    (failed,) = [m for m in root.manifests() if m["status"] == "failed"]
    assert "EAGAIN" in failed["extensions"]["reason"]
    assert [line["event"] for line in root.log()].count("launch_failed") == 4
    root.check_settled(count=2)


def _refusing(root: Root, error: str, when: str, *, count: int) -> int:
    """Start a batch; the system refuses the supervisor's vforks that ``when`` tells."""
    holding(root, count, launcher="exec")
    root.write("go", "")
    inject = (
        f"strace -qq -o /dev/null -e trace=vfork,clone -e inject=vfork:error={error}:when={when}"
    )
    inject += f" -e inject=clone:error={error}"  # which Python tries then; threads use clone3
    return root.finish(
        root.shell(
            f'SUPERVISOR_LAUNCHER=exec {inject} "{sys.executable}" -m supervisor'
            " start --once --batch batch.toml"
        )
    ).code


@needs_strace
@pytest.mark.fault("P2")
def test_a_supervisor_killed_between_fork_and_exec_leaves_an_owned_worker(root: Root) -> None:
    holding(root, 1, launcher="exec")
    slow = "strace -f -qq -o /dev/null -e trace=execve -e inject=execve:delay_enter=1000000"
    process = root.shell(
        f"export SUPERVISOR_LAUNCHER=exec; exec {slow} -- /bin/sh -c 'echo $$ > new; mv new pid; "
        f'exec "{sys.executable}" -m supervisor start --once --batch batch.toml\''
    )
    wait_until((root.path / "pid").exists, "the supervisor begins")
    supervisor = int((root.path / "pid").read_text())
    (owner,) = wait_until(
        lambda: list((root.path / ".runs").glob("*/cli/[!.]*/.owner")), "the run has an owner file"
    )
    wait_until(lambda: children(supervisor), "it has forked")
    (worker,) = children(supervisor)
    program = Path(f"/proc/{worker}/cmdline").read_bytes()
    os.kill(supervisor, signal.SIGKILL)
    print(f"killed while its child was {program!r}")
    assert is_flocked(str(owner))
    again = root.popen("start", "--once", "--batch", "batch.toml")
    wait_until(lambda: "run_adopted" in [line["event"] for line in root.log()], "it is adopted")
    root.write("go", "")
    assert root.finish(again).code == 0
    assert len(ran(root)) == 1
    root.finish(process)
    root.check_settled(count=1)


@pytest.mark.fault("P2")
def test_a_supervisor_killed_around_a_spawn_leaves_no_unowned_worker(lab: Lab) -> None:
    point = lab.point(LIVING)
    point.prepare()
    point.crash(Crash(at=LAST_CALL))
    taken = [
        int(line.split()[0])
        for line in calls(point.place)
        if line.split()[1] == "flock" and line.endswith("/.owner")
    ]
    print(f"owner locks are taken at the calls {taken}")
    assert len(taken) >= 2
    for at in (taken[0], taken[0] + 1, taken[1]):
        assert lab.at(LIVING, Crash(at=at, mode=Mode.AFTER))


@pytest.mark.slow
@pytest.mark.fault("P2")
@pytest.mark.timeout(1800)
def test_a_supervisor_of_living_workers_killed_at_every_call_leaves_none_unowned(lab: Lab) -> None:
    assert lab.every(LIVING, mode=Mode.BEFORE) > 80

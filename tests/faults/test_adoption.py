"""A supervisor is killed while its workers live: the next one takes over; it keeps no zombie."""

import os
import signal
import sys

import pytest

from tests.holding import adopted, holding, kill_supervisor, ran, workers, zygotes_of
from tests.root import Root, wait_until
from workers.processes.tree import children
from workers.records.proc import proc_stat


@pytest.mark.slow
@pytest.mark.fault("P3")
@pytest.mark.timeout(600)
def test_fifty_living_workers_are_adopted_and_each_stage_runs_once(root: Root) -> None:
    kill_supervisor(root, 50)
    before = workers(root)
    assert len(before) == 50
    second = root.popen("start", "--once", "--batch", "batch.toml")
    wait_until(lambda: adopted(root) == 50, "all are adopted")
    assert workers(root) == before
    root.write("go", "")
    assert root.finish(second).code == 0
    assert len(ran(root)) == len(set(ran(root))) == 50
    assert root.state()["totals"]["succeeded"] == 50
    root.check_settled(count=50)


@pytest.mark.fault("P17")
def test_an_adopted_worker_that_nobody_reaps_is_lost_all_the_same(root: Root) -> None:
    """Its parent is a process that never waits for a child: it stays a zombie."""
    holding(root, 1)
    keeper = root.shell(
        f'exec "{sys.executable}" -c \'import ctypes, os, sys, time; '
        "ctypes.CDLL(None).prctl(36, 1, 0, 0, 0); "
        "os.spawnv(os.P_NOWAIT, sys.executable, [sys.executable, *sys.argv[1:]]); time.sleep(600)' "
        "-m supervisor start --once --batch batch.toml"
    )
    wait_until(lambda: len(ran(root)) == 1, "the stage runs")
    (first,) = children(keeper.pid)
    (worker,) = workers(root)
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: worker in children(keeper.pid), "the worker comes to the keeper")
    second = root.popen("start", "--once", "--batch", "batch.toml")
    wait_until(lambda: adopted(root) == 1, "it is adopted")
    os.kill(worker, signal.SIGKILL)
    assert root.finish(second).code == 12
    stat = proc_stat(worker)
    assert stat is not None
    assert stat.state == "Z"
    assert root.manifests()[0]["status_detail"] == "worker-lost"
    keeper.kill()
    root.check_settled(count=1)


@pytest.mark.fault("P17")
def test_the_supervisor_keeps_no_zombie(root: Root) -> None:
    holding(root, 3)
    process = root.shell(
        f'sleep 0.1 & setsid sleep 0.1 & exec "{sys.executable}" -m supervisor start '
        "--once --batch batch.toml"
    )
    wait_until(lambda: len(ran(root)) == 3, "all stages run")

    def has_only_workers(count: int) -> bool:
        zygotes = set(zygotes_of(process.pid))
        below = {pid for parent in (process.pid, *zygotes) for pid in children(parent)}
        return sorted(below - zygotes) == workers(root) and len(workers(root)) == count

    wait_until(lambda: has_only_workers(3), "what it inherited is reaped")
    os.kill(workers(root)[0], signal.SIGKILL)
    wait_until(lambda: has_only_workers(2), "so are a worker and what it left")
    root.write("go", "")
    assert root.finish(process).code == 12
    root.check_settled(count=3)

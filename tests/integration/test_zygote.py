"""Workers by fork: what the process that forks them may suffer without harm to a run."""

import os
import signal

import pytest

from tests.holding import zygotes_of
from tests.root import LAUNCHER, Root, alive, wait_until

pytestmark = pytest.mark.skipif(LAUNCHER != "zygote", reason="workers are started by exec")

WAIT = "echo $SUPERVISED_RUN_ID >> ran; until test -e go; do sleep 0.05; done"
HOLD = f"""
[pipelines.hold]
stages = [{{ id = "s", command = "{WAIT}" }}]
[pipelines.dir]
stages = [{{ id = "s", command = "ls -l /proc/$$/fd" }}]
"""


def zygote_of(pid: int) -> int:
    return int(wait_until(lambda: zygotes_of(pid), "there is a zygote")[0])


def holding(root: Root, count: int) -> list[str]:
    """Hand in runs that wait for a file called go; returns their ids once all are at work."""
    ids = [root.call("submit", "hold").out.strip() for _ in range(count)]
    wait_until(lambda: len(ran(root)) == count, "all stages run")
    return ids


def ran(root: Root) -> list[str]:
    path = root.path / "ran"
    return path.read_text().split() if path.exists() else []


def test_a_killed_zygote_is_replaced_and_its_workers_go_on(root: Root) -> None:
    root.configure(HOLD)
    process = root.serving()
    first = holding(root, 2)
    before = zygote_of(process.pid)
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: not zygotes_of(process.pid), "it is dead")
    second = root.call("submit", "hold").out.strip()
    wait_until(lambda: len(ran(root)) == 3, "a third worker runs")
    assert zygote_of(process.pid) != before
    root.write("go", "")
    assert root.call("wait", *first, second).code == 0
    process.send_signal(signal.SIGTERM)
    root.finish(process)
    assert len(set(ran(root))) == 3, "no stage ran twice"
    root.check_settled(count=3)


def test_a_worker_whose_zygote_died_is_reaped_and_its_end_is_told(root: Root) -> None:
    root.configure(HOLD)
    process = root.serving()
    (run_id,) = holding(root, 1)
    os.kill(zygote_of(process.pid), signal.SIGKILL)
    (worker,) = alive(f"cli/{run_id}\0--owner-fd")
    os.kill(worker, signal.SIGKILL)
    root.wait_for_status(run_id, "failed")
    assert "SIGKILL" in root.manifests()[0]["extensions"]["reason"]
    assert not os.path.exists(f"/proc/{worker}"), "not even as a zombie"
    process.send_signal(signal.SIGTERM)
    root.finish(process)
    root.check_settled(count=1)


def test_a_zygote_ends_with_its_supervisor_and_the_workers_do_not(root: Root) -> None:
    root.configure(HOLD)
    process = root.serving()
    (run_id,) = holding(root, 1)
    zygote = zygote_of(process.pid)
    process.kill()
    root.finish(process)
    wait_until(lambda: not os.path.exists(f"/proc/{zygote}"), "the zygote is gone")
    assert alive(f"cli/{run_id}\0--owner-fd")
    root.write("go", "")
    assert root.call("start", "--once").code == 0
    root.check_settled(count=1)


def test_a_terminal_signal_to_the_zygote_does_nothing(root: Root) -> None:
    root.configure(HOLD)
    process = root.serving()
    zygote = zygote_of(process.pid)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        os.kill(zygote, number)
    holding(root, 1)
    assert zygote_of(process.pid) == zygote
    root.write("go", "")
    process.send_signal(signal.SIGTERM)
    root.finish(process)
    root.check_settled(count=1)


def test_a_stage_has_no_descriptor_of_worker_or_zygote_but_its_pipes(root: Root) -> None:
    root.configure(HOLD)
    done = root.call("run", "dir")
    targets = sorted(line.partition(" -> ")[2].partition(":")[0] for line in done.out.splitlines())
    assert (done.code, targets) == (0, ["", "/dev/null", "pipe", "pipe"])

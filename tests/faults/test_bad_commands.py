"""Commands that fail at once or never stop forking: they cost their own run, and little of ours."""

import sys
from pathlib import Path

import pytest

from tests.root import Root
from tests.storms import TREE


def bytes_below(path: Path) -> int:
    return sum(p.stat().st_blocks * 512 for p in path.rglob("*"))


@pytest.mark.fault("P25")
@pytest.mark.parametrize("command", ["no-such-command", "echo $SUPERVISED_RUN_ID >> ran; exit 1"])
def test_a_bad_command_fails_once_per_run_and_is_never_begun_again(
    root: Root, command: str
) -> None:
    root.configure(f"[pipelines.p]\nstages = [{{ id = 's', command = '{command}' }}]\n")
    root.write("batch.toml", '[[runs]]\npipeline = "p"\ncount = 15\n')
    assert root.call("start", "--once", "--batch", "batch.toml").code == 10
    assert root.call("start", "--once").code == 0, "nothing is left to do"
    for manifest in root.manifests():
        events = [event["event"] for event in root.events(manifest["run_id"])]
        assert events.count("run_started") == events.count("stage_started") == 1
        assert bytes_below(root.path / manifest["artifact_root"]) <= 64 * 1024
    if "ran" in command:
        ids = (root.path / "ran").read_text().split()
        assert len(ids) == len(set(ids)) == 15
    root.check_settled(count=15)


@pytest.mark.alone  # with other tests it could use up the pids of a machine
@pytest.mark.fault("P14")
def test_a_fork_bomb_ends_with_its_timeout_and_the_other_runs_succeed(root: Root) -> None:
    root.write("bomb.py", TREE)
    root.configure(
        f"[pipelines.bomb]\nstages = [{{ id = 's', command = '{sys.executable} bomb.py own', "
        "timeout_s = 1.5 }]\n[pipelines.good]\nstages = [{ id = 's', command = 'sleep 0.5' }]\n"
    )
    assert root.call("start", "--once", "bomb", "good", "good").code == 10
    by_pipeline = sorted((m["pipeline_id"], m["status_detail"]) for m in root.manifests())
    assert by_pipeline == [("bomb", "stage:s:timed-out"), ("good", None), ("good", None)]
    assert not root.stages()
    root.check_settled(count=3)

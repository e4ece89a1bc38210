"""Records of different days, deleted or damaged: one run, one verdict, and no stage runs twice."""

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.holding import holding, kill_supervisor, ran, workers
from tests.root import Root, wait_until

PIPELINES = """
on_finish = "echo $SUPERVISED_RUN_ID >> hooked"
[pipelines.good]
stages = [{ id = "s", command = "true" }]
[pipelines.bad]
stages = [{ id = "s", command = "echo >> began; while ! test -e go; do sleep 0.05; done; exit 3" }]
"""


def replace(path: Path, by: Path) -> None:
    shutil.rmtree(path)
    os.rename(by, path)


def hooked(root: Root) -> int:
    return len((root.path / "hooked").read_text().split())


@pytest.mark.fault("C30")
def test_deleted_out_is_rebuilt_from_the_journals(root: Root) -> None:
    root.configure("", PIPELINES)
    root.write("go", "")
    assert root.call("start", "--once", "good", "bad", "good").code == 10
    before = root.history()
    shutil.rmtree(root.path / "out")
    done = root.call("start", "--once")
    assert done.code == 0
    assert "3 finished runs that its history lacked" in done.err
    again = root.history()
    assert sorted(line["runId"] for line in again) == sorted(line["runId"] for line in before)
    assert [line["timestamp"] for line in again] == sorted(line["timestamp"] for line in again)
    assert hooked(root) == 3
    root.check_settled(count=3)
    assert "lacked" not in root.call("start", "--once").err


@pytest.mark.fault("C30")
def test_an_older_out_gets_the_runs_that_it_lacks(root: Root) -> None:
    root.configure("", PIPELINES)
    assert root.call("start", "--once", "good").code == 0
    shutil.copytree(root.path / "out", root.path / "older")
    assert root.call("start", "--once", "good", "good").code == 0
    replace(root.path / "out", root.path / "older")
    assert root.call("start", "--once", "good").code == 0
    assert hooked(root) == 4
    root.check_settled(count=4)


@pytest.mark.fault("C30")
def test_older_runs_keep_the_verdict_that_the_history_has_and_start_no_hook_again(
    root: Root,
) -> None:
    root.configure("", PIPELINES)
    process = root.popen("start", "--once", "bad")
    wait_until((root.path / "began").exists, "the stage runs")
    shutil.copytree(root.path / ".runs", root.path / "older")
    root.write("go", "")
    assert root.finish(process).code == 10
    replace(root.path / ".runs", root.path / "older")
    assert root.call("start", "--once").code == 10
    (line,) = root.history()
    assert line["status"] == "failed"
    assert line["statusDetail"] == "stage:s:failed"
    assert (root.path / "began").read_text() == "\n"
    assert hooked(root) == 1
    root.check_settled(count=1)


@pytest.mark.fault("C30")
def test_deleted_runs_leave_a_history_that_is_listed_and_in_order(root: Root) -> None:
    root.configure("", PIPELINES)
    assert root.call("start", "--once", "good").code == 0
    shutil.rmtree(root.path / ".runs")
    assert root.call("start", "--once").code == 0
    assert "succeeded" in root.call("status").out
    assert root.call("verify").code == 0
    assert root.state()["totals"]["runs"] == 1


@pytest.mark.fault("C30")
def test_an_interrupted_run_whose_marker_is_deleted_gets_its_verdict(root: Root) -> None:
    kill_supervisor(root, 1)
    for pid in workers(root):
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not workers(root), "the worker is gone")
    shutil.rmtree(root.path / ".runs/.supervisor")
    assert root.call("start", "--once").code == 12
    assert len(ran(root)) == 1
    root.check_settled(count=1)


def cut(lines: list[bytes]) -> list[bytes]:
    return lines[:1]


def damage(lines: list[bytes]) -> list[bytes]:
    return [line if b"run_accepted" in line else b"x" + line for line in lines]


@pytest.mark.fault("C31")
@pytest.mark.parametrize("spoil", [cut, damage])
def test_a_run_whose_journal_lost_its_beginning_never_begins_again(
    root: Root, spoil: Callable[[list[bytes]], list[bytes]]
) -> None:
    """Output of its stage, or a line that cannot be read, shows that it had begun."""
    holding(root, 1)
    process = root.popen("start", "--once", "--batch", "batch.toml")
    wait_until(lambda: len(ran(root)) == 1, "the stage runs")
    process.kill()
    root.finish(process)
    for pid in workers(root):
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not workers(root), "the worker is gone")
    (run,) = (root.path / ".runs/default/cli").iterdir()
    os.unlink(run / "manifest.json")
    journal = run / "journal.ndjson"
    journal.write_bytes(b"".join(spoil(journal.read_bytes().splitlines(keepends=True))))
    assert root.call("start", "--once").code == 12
    assert len(ran(root)) == 1
    assert root.manifests()[0]["status_detail"] == "worker-lost"

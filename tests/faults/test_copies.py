"""A root that was copied, restored or moved: no process of the original is ever signalled."""

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.store.root_record import RootRecord, copied_from
from tests.holding import holding, kill_supervisor, ran, worker_of, workers
from tests.root import Root, alive, root_in, wait_until


@pytest.fixture
def copy(root: Root, tmp_path: Path) -> Iterator[Root]:
    """A place for a copy of the root; whatever runs there is gone afterwards."""
    with root_in(tmp_path / "copied") as made:
        yield made


def copy_of(root: Root, copy: Root) -> None:
    """Copy a root as ``cp -a`` does, or as a backup is tried out."""
    shutil.rmtree(copy.path)
    shutil.copytree(root.path, copy.path, symlinks=True)


@pytest.mark.fault("P34")
def test_cancel_in_a_copy_ends_no_process_of_the_original(root: Root, copy: Root) -> None:
    holding(root, 1)
    original = root.popen("start", "--once", "--batch", "batch.toml")
    (run_id,) = wait_until(lambda: ran(root), "the stage runs")
    copy_of(root, copy)
    assert copy.call("cancel", run_id).code == 0
    assert copy.call("wait", run_id).code == 12
    wait_until(lambda: not os.listdir(copy.layout.accepted), "it is settled")
    (lost,) = copy.manifests()
    assert lost["status_detail"] == "worker-lost"
    assert "copied or restored" in lost["extensions"]["reason"]
    copy.check_settled(count=1)
    assert workers(root) == [worker_of(run_id)]
    root.write("go", "")
    assert root.finish(original).code == 0
    root.check_settled(count=1)


@pytest.mark.fault("P34")
def test_a_copy_leaves_the_hook_of_the_original_alone(root: Root, copy: Root) -> None:
    hook = "echo $$ > hook.new; mv hook.new hook; while ! test -e go; do sleep 0.05; done"
    stages = "stages = [{ id = 's', command = 'true' }]"
    root.configure(f"[pipelines.p]\non_finish = '{hook}; echo ended > ended'\n{stages}\n")
    original = root.popen("start", "--once", "p")
    wait_until((root.path / "hook").exists, "the hook runs")
    copy_of(root, copy)
    assert copy.call("start", "--once").code == 0
    (record,) = (copy.path / ".runs/default/cli").glob("*/hooks/on_finish.json")
    assert json.loads(record.read_text())["status"] == "interrupted"
    root.write("go", "")
    assert root.finish(original).code == 0
    assert (root.path / "ended").exists()
    (record,) = (root.path / ".runs/default/cli").glob("*/hooks/on_finish.json")
    assert json.loads(record.read_text())["status"] == "succeeded"


@pytest.mark.fault("P34")
def test_restored_runs_leave_the_processes_of_the_replaced_ones_alone(root: Root) -> None:
    """The worker of the deleted ``.runs`` dies; its stage is of a directory that is gone."""
    kill_supervisor(root, 1)
    (run_id,) = ran(root)
    shutil.copytree(root.path / ".runs", root.path / "backup", symlinks=True)
    os.rename(root.path / ".runs", root.path.parent / "replaced")
    os.rename(root.path / "backup", root.path / ".runs")
    done = root.call("start", "--once")
    assert done.code == 12
    assert "restored from a copy since it was served last" in done.err
    assert alive(f"SUPERVISED_RUN_ID={run_id}")
    root.check_settled(count=1)


@pytest.mark.fault("P34", "P5")
def test_a_renamed_root_is_the_same_root_and_clears_up_after_its_runs(
    root: Root, copy: Root
) -> None:
    kill_supervisor(root, 1)
    (run_id,) = ran(root)
    os.kill(worker_of(run_id), signal.SIGKILL)
    wait_until(lambda: not workers(root), "the worker is gone")
    assert alive(f"SUPERVISED_RUN_ID={run_id}")
    shutil.rmtree(copy.path)
    os.rename(root.path, copy.path)
    done = copy.call("start", "--once")
    assert done.code == 12
    assert "copy" not in done.err
    assert not alive(f"SUPERVISED_RUN_ID={run_id}")
    copy.check_settled(count=1)
    os.mkdir(root.path)


@pytest.mark.fault("P34")
def test_doctor_recognises_a_copy_until_a_start_has_taken_it_over(root: Root, copy: Root) -> None:
    root.configure("[pipelines.p]\nstages = [{ id = 's', command = 'true' }]\n")
    assert root.call("start", "--once", "p").code == 0
    copy_of(root, copy)
    assert f"a copy of {root.path}, which is still there" in copy.call("doctor").out
    assert "a copy of" not in root.call("doctor").out
    assert "a copy of" in copy.call("start", "--once").err
    assert "a copy of" not in copy.call("doctor").out
    assert "a copy of" not in copy.call("start", "--once").err


@pytest.mark.fault("P34")
@pytest.mark.parametrize(
    ("root_id", "host", "boot", "is_copy"),
    [
        pytest.param("1f-7", "h", "b", False, id="the same"),
        pytest.param("1f-8", "h", "b", True, id="copied"),
        pytest.param("20-7", "h", "b", True, id="snapshot next to the original"),
        pytest.param("20-7", "h", "c", False, id="another device number after a boot"),
        pytest.param("20-7", "i", "d", False, id="a shared folder on another host"),
        pytest.param("20-8", "i", "d", True, id="copied to another host"),
    ],
)
def test_what_tells_a_copy(root_id: str, host: str, boot: str, is_copy: bool) -> None:
    before = RootRecord(root="/nowhere", root_id="1f-7", host="h", boot_id="b")
    now = RootRecord(root="/here", root_id=root_id, host=host, boot_id=boot)
    assert (copied_from(before, now) is not None) == is_copy

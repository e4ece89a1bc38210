"""Directories that are deleted or renamed while they are served."""

import os
import shutil
import signal
from pathlib import Path

import pytest

from tests.faults.test_full_disk import the_run, waiting
from tests.root import Root, alive, wait_until


@pytest.mark.fault("F12")
@pytest.mark.parametrize("how", ["deleted", "renamed", "replaced"])
def test_a_supervisor_whose_root_is_gone_ends_what_runs_and_says_so(
    root: Root, tmp_path: Path, how: str
) -> None:
    process = root.serving()
    root.call("submit", "--", "sh", "-c", waiting(tmp_path / "never"))
    run_id = the_run(root)
    moved = tmp_path / "moved"
    os.rename(root.layout.runs, moved)
    if how == "deleted":
        wait_until(lambda: shutil.rmtree(moved, ignore_errors=True) or not moved.exists(), "gone")
    elif how == "replaced":
        os.makedirs(root.layout.control, mode=0o700)
    done = root.finish(process)
    assert done.code == 73
    assert f"{root.layout.runs} was deleted or renamed while it was served" in done.err
    assert f"{run_id} was killed; its result is not on disk" in done.err
    assert "Traceback" not in done.err
    wait_until(lambda: not alive(str(root.path)), "nothing of it is alive")
    assert not (root.path / "out/default/history.ndjson").exists()
    if how != "deleted":
        shutil.rmtree(root.layout.runs, ignore_errors=True)
        os.rename(moved, root.layout.runs)
        assert root.call("start", "--once").code == 12
        root.check_settled(count=1)


@pytest.mark.fault("F25")
@pytest.mark.parametrize("name", ["inbox", "accepted", "rejected"])
def test_a_directory_of_the_supervisor_that_is_deleted_is_made_again(root: Root, name: str) -> None:
    process = root.serving()
    shutil.rmtree(Path(root.layout.control, name))
    Path(root.layout.inbox).mkdir(exist_ok=True, mode=0o700)
    bad = Path(root.layout.inbox, "2026-01-01T00-00-00-000Z-00000000.json")
    bad.write_text("no request")
    run_id = root.call("submit", "--", "true").out.strip()
    assert root.call("wait", run_id).code == 0
    wait_until(lambda: not bad.exists(), "the bad request is set aside")
    process.send_signal(signal.SIGTERM)
    assert root.finish(process).code == 143
    (Path(root.layout.rejected) / bad.name).unlink()
    root.check_settled(count=1)

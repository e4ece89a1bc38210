"""What may not be written: told at the start, waited for later, and no other task's loss."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.faults.mounts import needs_root, read_only, tmpfs
from tests.faults.test_full_disk import the_run, waiting
from tests.root import Root, alive, wait_until

WEAK = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search")
WEAK += ("--inh-caps", "-dac_override,-dac_read_search")


@needs_root
@pytest.mark.fault("F8")
@pytest.mark.parametrize("used_before", [False, True])
def test_a_root_that_is_read_only_at_the_start_is_refused_in_one_line(
    root: Root, used_before: bool
) -> None:
    if used_before:
        root.call("submit", "--", "true")
    with read_only(root.path):
        done = root.call("start", "--once")
    assert done.code == 73
    assert len(done.err.splitlines()) == 1
    assert str(root.path) in done.err
    assert not root.stages()
    assert not (root.path / "out").exists()


@needs_root
@pytest.mark.fault("F7", "F1")
def test_a_disk_that_turns_read_only_stops_neither_supervisor_nor_readers(
    root: Root, tmp_path: Path
) -> None:
    process, go = root.serving(), tmp_path / "go"
    root.call("submit", "--", "sh", "-c", waiting(go))
    run_id = the_run(root)
    root.wait_for_status(run_id, "in_progress")
    with read_only(root.path):
        for words in (("status",), ("show", run_id), ("logs", run_id), ("verify",)):
            done = root.call(*words)
            assert (done.code, done.err) == (0, ""), words
        assert root.call("submit", "--", "true").code == 73
        go.touch()
        journal = Path(root.layout.run_dir("default", run_id).journal)
        wait_until(lambda: b"verdict" in journal.read_bytes(), "the run ends")
        assert root.call("status", "--json").json()["runs"][0]["status"] == "succeeded"
        assert process.poll() is None
    assert root.call("wait", run_id).code == 0
    process.send_signal(signal.SIGTERM)
    assert root.finish(process).code == 143
    root.check_settled(count=1)


@needs_root
@pytest.mark.fault("F13", "F1")
def test_a_directory_that_nobody_may_change_delays_its_own_run_alone(
    root: Root, tmp_path: Path
) -> None:
    process, go = root.serving(), tmp_path / "go"
    root.call("submit", "--", "sh", "-c", waiting(go))
    run_id = the_run(root)
    place = root.layout.run_dir("default", run_id).path
    if subprocess.run(["chattr", "+i", place], capture_output=True).returncode != 0:
        pytest.skip("chattr does not work on this file system")
    try:
        go.touch()
        other = root.call("submit", "--task", "other", "--", "true").out.strip()
        assert root.call("wait", other).code == 0
        failed = {line["event"] for line in root.log() if line.get("run_id") == run_id}
        assert failed & {"record_failed", "manifest_failed"}
        assert root.call("wait", run_id, "--timeout", "0").code == 124
    finally:
        subprocess.run(["chattr", "-i", place], check=True)
    assert root.call("wait", run_id).code == 0
    process.send_signal(signal.SIGTERM)
    root.finish(process)
    root.check_settled(count=1)
    root.check_settled("other", count=1)
    (manifest,) = root.manifests()
    assert [w["code"] for w in manifest["extensions"]["warnings"]] == ["manifest_refused"]


@needs_root
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="there is no setpriv")
@pytest.mark.fault("F13")
def test_a_task_that_may_not_be_read_at_the_start_is_named_and_left_to_the_next(
    root: Root,
) -> None:
    run_id = root.call("submit", "--", "true").out.strip()
    crashed = root.popen("start")
    wait_until(lambda: os.path.exists(root.layout.run_dir("default", run_id).journal), "accepted")
    wait_until(lambda: not os.listdir(root.layout.inbox), "the request is done")
    crashed.kill()
    root.finish(crashed)
    wait_until(lambda: not alive(str(root.path)), "what it started has ended")
    closed = root.path / ".runs/default"
    closed.chmod(0)
    other = root.call("submit", "--task", "other", "--", "true", under=WEAK).out.strip()
    done = root.call("start", "--once", under=WEAK)
    assert done.code == 73
    assert f"{run_id} cannot be read and is left to the next start" in done.err
    assert root.call("status", other, under=WEAK).code == 0
    assert root.call("status", under=WEAK).code in (0, 3)
    closed.chmod(0o700)
    assert root.call("start", "--once").code in (0, 12)
    root.check_settled(count=1)
    root.check_settled("other", count=1)


@needs_root
@pytest.mark.fault("F28")
def test_another_file_system_mounted_at_a_task_is_used_like_any_other(root: Root) -> None:
    (root.path / ".runs").mkdir(mode=0o700)
    (root.path / "out").mkdir(mode=0o700)
    with tmpfs(root.path / ".runs/default", "size=4m"), tmpfs(root.path / "out/default", "size=4m"):
        assert root.call("run", "--", "echo", "there").code == 0
        wait_until(lambda: not os.listdir(root.layout.accepted), "it is settled")
        wait_until(lambda: not alive(str(root.path)), "the helper has ended")
        root.check_settled(count=1)
        (manifest,) = root.manifests()
        assert (root.path / manifest["commands"][0]["log_path"]).read_text() == "there\n"


@needs_root
@pytest.mark.fault("F13")
@pytest.mark.parametrize("closed", [".runs/.supervisor", ".runs/default/cli", "out"])
def test_what_may_not_be_read_is_reported_and_not_taken_for_empty(root: Root, closed: str) -> None:
    root.call("submit", "--", "true")
    assert root.call("start", "--once").code == 0
    (root.path / closed).chmod(0)
    codes = {
        words[0]: root.call(*words, under=WEAK).code
        for words in (("gc", "--keep-runs", "0", "--yes"), ("verify",), ("status",))
    }
    (root.path / closed).chmod(0o700)
    assert codes["gc"] == 73
    assert codes["verify"] in (65, 73)
    assert codes["status"] in (0, 73)
    root.check_settled(count=1)

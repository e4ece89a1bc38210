"""Locks: what lies there means nothing, what is held is waited for, what is broken is refused."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.damage import put
from tests.faults.mounts import bound, needs_root
from tests.root import Root, alive, wait_until
from workers.records.files import make_dir

HOLD = """
import fcntl, os, sys, time
fcntl.flock(os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600), fcntl.LOCK_EX)
print(flush=True)
time.sleep(600)
"""


@contextmanager
def holder(path: str) -> Iterator["subprocess.Popen[str]"]:
    """Another process that holds a lock."""
    make_dir(os.path.dirname(path))
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, path], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
    finally:
        process.kill()
        process.communicate()


def starts(root: Root, count: int, elsewhere: Path) -> list[int]:
    """Start many supervisors at once by every path to the root; the codes of those refused."""
    link = elsewhere / "link"
    link.symlink_to(root.path)
    paths = [str(root.path), str(link), str(elsewhere / "bound")]
    started = [root.popen("start", "--root", paths[n % 3]) for n in range(count)]
    wait_until(lambda: sum(p.poll() is None for p in started) <= 1, "all but one are refused")
    (winner,) = [p for p in started if p.poll() is None]
    losers = [root.finish(p) for p in started if p is not winner]
    for done in losers:
        assert f"(pid {winner.pid}, " in done.err or "(pid unknown" in done.err, done.err
    run_id = root.call("submit", "--", "true").out.strip()
    assert root.call("wait", run_id).code == 0
    winner.send_signal(signal.SIGTERM)
    assert root.finish(winner).code == 143
    return [done.code for done in losers]


@needs_root
@pytest.mark.fault("L4")
@pytest.mark.parametrize("count", [6, pytest.param(50, marks=pytest.mark.slow)])
def test_of_many_starts_by_any_path_to_the_root_one_serves(
    root: Root, tmp_path: Path, count: int
) -> None:
    with bound(root.path, tmp_path / "bound"):
        assert starts(root, count, tmp_path) == [75] * (count - 1)
    root.check_settled(count=1)


@pytest.mark.fault("L1", "L11")
def test_a_lease_that_a_dead_or_reused_pid_claims_means_nothing(root: Root) -> None:
    process = root.serving()
    process.kill()
    root.finish(process)
    lease = json.loads(Path(root.layout.lease).read_text())
    lease["identity"]["pid"] = os.getpid()  # somebody alive, whose pid it is now
    Path(root.layout.lease).write_text(json.dumps(lease))
    assert root.call("status", "--json").json()["supervisor"] is None
    assert root.call("run", "--", "true").code == 0


@pytest.mark.fault("L2", "L5")
@pytest.mark.parametrize("stopped", [False, True], ids=["living", "stopped"])
def test_a_holder_of_a_tasks_lock_is_waited_for_and_never_robbed(root: Root, stopped: bool) -> None:
    root.call("submit", "--", "true")
    with holder(root.layout.state_lock("default")) as other:
        if stopped:
            other.send_signal(signal.SIGSTOP)
        process = root.popen("start", "--once")
        wait_until(lambda: "snapshot_owed" in str(root.manifests()), "the snapshot is owed")
        assert len(root.history()) == 1
        assert not os.path.exists(root.layout.state("default"))
        assert process.poll() is None
    assert root.finish(process).code == 0
    root.check_settled(count=1)
    lock = json.loads((root.path / ".runs/default/metrics.json").read_text())["lock"]
    assert (lock["owed_count"], lock["paid_count"]) == (1, 1)


@pytest.mark.fault("L3")
@pytest.mark.parametrize("how", ["deleted", "renamed"])
def test_a_supervisor_whose_lease_file_goes_takes_it_again_and_serves_on(
    root: Root, how: str
) -> None:
    process = root.serving()
    lock = Path(root.layout.lease_lock)
    before = lock.stat().st_ino
    lock.unlink() if how == "deleted" else lock.rename(lock.with_name("moved"))
    wait_until(lambda: lock.exists() and lock.stat().st_ino != before, "it is there again")
    wait_until(lambda: root.call("start", "--once").code == 75, "it is held again")
    run_id = root.call("submit", "--", "true").out.strip()
    assert root.call("wait", run_id).code == 0
    assert "lease_taken_again" in [line["event"] for line in root.log()]
    process.send_signal(signal.SIGTERM)
    assert root.finish(process).code == 143
    (lock.with_name("moved")).unlink(missing_ok=True)
    root.check_settled(count=1)


@pytest.mark.fault("L3")
def test_a_supervisor_whose_lease_another_took_leaves_its_workers_to_it(root: Root) -> None:
    process = root.serving()
    go = root.path / "go"
    script = f"until [ -e {go} ]; do sleep 0.02; done"
    run_id = root.call("submit", "--", "sh", "-c", script).out.strip()
    wait_until(root.stages, "the run is at its stage")
    process.send_signal(signal.SIGSTOP)  # so that the other is faster
    os.unlink(root.layout.lease_lock)
    other = root.popen("start")
    wait_until(lambda: "run_adopted" in str(root.log()), "the other adopts the run")
    process.send_signal(signal.SIGCONT)
    done = root.finish(process)
    assert done.code == 75
    assert f"(pid {other.pid}, " in done.err
    go.touch()
    assert root.call("wait", run_id).code == 0
    other.send_signal(signal.SIGTERM)
    assert root.finish(other).code == 143
    root.check_settled(count=1)


@pytest.mark.fault("L7")
@pytest.mark.parametrize("name", ["lease.lock", "lease.probe"])
@pytest.mark.parametrize("kind", ["directory", "fifo", "link"])
def test_what_stands_in_the_place_of_the_leases_lock_is_refused(
    root: Root, tmp_path: Path, name: str, kind: str
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("mine")
    path = Path(root.layout.control, name)
    put(path, kind, elsewhere)
    done = root.call("start", "--once")
    assert done.code == 73
    assert done.err.startswith(f"supervisor: {path}: ")
    assert len(done.err.splitlines()) == 1
    assert os.path.lexists(path)
    assert elsewhere.read_text() == "mine"


@pytest.mark.fault("L7")
@pytest.mark.parametrize("kind", ["directory", "fifo", "link"])
def test_what_stands_in_the_place_of_a_tasks_lock_costs_the_snapshot_alone(
    root: Root, tmp_path: Path, kind: str
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("mine")
    root.configure(settings="owed_wait_s = 0.1")
    root.call("submit", "--", "true")
    path = Path(root.layout.state_lock("default"))
    put(path, kind, elsewhere)
    done = root.call("start", "--once")
    assert done.code == 0
    assert "still owed" in done.err
    assert elsewhere.read_text() == "mine"
    assert path.is_symlink() or not path.is_file()
    shutil.rmtree(path) if kind == "directory" else path.unlink()
    assert root.call("start", "--once").code == 0
    root.check_settled(count=1)


@pytest.mark.fault("L6")
def test_no_lock_of_ours_is_open_in_a_worker_or_a_stage(root: Root) -> None:
    root.configure()
    process = root.serving()
    go = root.path / "go"
    script = f"ls -l /proc/self/fd; until [ -e {go} ]; do sleep 0.02; done"
    run_id = root.call("submit", "--", "sh", "-c", script).out.strip()
    wait_until(root.stages, "the run is at its stage")
    (worker,) = {p for p in alive(f"-m\0workers\0{root.path}")}
    held = [os.readlink(f"/proc/{worker}/fd/{n}") for n in os.listdir(f"/proc/{worker}/fd")]
    names = [os.path.basename(path) for path in held]
    assert [n for n in names if n.endswith(".lock") or n == ".owner"] == [".owner"]
    go.touch()
    assert root.call("wait", run_id).code == 0
    listing = root.call("logs", run_id).out
    assert "/.runs/" not in listing, "nothing of ours is open in a stage"
    process.send_signal(signal.SIGTERM)
    root.finish(process)
    for path in (root.layout.lease_lock, root.layout.state_lock("default")):
        with open(path) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # nobody holds it any more


@pytest.mark.skipif(shutil.which("strace") is None, reason="there is no strace")
@pytest.mark.fault("F22")
@pytest.mark.parametrize("error", ["ENOSYS", "ENOLCK", "EOPNOTSUPP"])
def test_where_flock_does_not_work_a_start_is_refused(root: Root, error: str) -> None:
    inject = ("-e", "trace=flock", "-e", f"inject=flock:error={error}")
    done = root.call("start", "--once", under=("strace", "-f", "-qq", "-o", "/dev/null", *inject))
    assert done.code == 73
    assert done.err.startswith("supervisor: locking does not work on ")
    assert len(done.err.splitlines()) == 1
    assert not os.path.exists(root.layout.accepted)

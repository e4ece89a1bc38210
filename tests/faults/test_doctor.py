"""``supervisor doctor`` detects every problem that it checks for, and changes nothing."""

import contextlib
import fcntl
import io
import json
import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from supervisor.cli import run
from supervisor.doctor.check_result import CheckResult, Level
from supervisor.doctor.disk import check_disk
from supervisor.doctor.machine import check_machine
from supervisor.doctor.run_checks import check_scheduler
from supervisor.store.intake import Intake
from supervisor.store.lease import take_lease
from supervisor.store.quarantine import Quarantine
from tests.root import Done, Root, alive, wait_until, without_module
from workers.records.clock import SystemClock
from workers.records.layout import Layout
from workers.records.proc import proc_stat

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


def served(path: Path) -> None:
    """A root that a supervisor has served."""
    layout = Layout(str(path))
    take_lease(layout, command="supervisor start", quarantine=Quarantine(lambda *_: None)).release()
    Intake(layout, SystemClock())


def doctor(path: Path) -> Done:
    """``supervisor doctor --json`` in this process, to be quick."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(["doctor", "--json", "--root", str(path)])
    return Done(code, out.getvalue(), err.getvalue())


def levels(done: Done) -> dict[str, str]:
    """The level of each check."""
    return {finding["check"]: finding["level"] for finding in done.json()["findings"]}


def finding(done: Done, check: str) -> dict[str, Any]:
    """One check."""
    return next(found for found in done.json()["findings"] if found["check"] == check)


def tree(path: Path) -> list[tuple[str, int, int]]:
    """Everything below a directory, as far as a change would show."""
    found = [(str(p), p.lstat().st_mtime_ns, p.lstat().st_size) for p in path.rglob("*")]
    return sorted(found)


@contextmanager
def mounted(path: Path, options: str) -> Iterator[None]:
    """A small file system of our own."""
    path.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", path], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", path], check=True)


def test_a_healthy_root_is_ok_and_unchanged(root: Root) -> None:
    served(root.path)
    control = Path(root.layout.control)
    before = [found for found in tree(root.path) if found[0] != str(control)]
    done = doctor(root.path)
    assert done.code == 0, done
    assert set(levels(done).values()) == {"ok"}
    # Doctor created and removed two files in it, which changes its mtime.
    assert [found for found in tree(root.path) if found[0] != str(control)] == before


def test_doctor_creates_nothing_in_an_unused_directory(root: Root) -> None:
    before = tree(root.path)
    done = root.call("doctor")
    assert done.code == 0
    assert "no supervisor has served it yet" in done.out
    assert tree(root.path) == before


def test_a_warning_comes_with_its_fix(root: Root) -> None:
    served(root.path)
    Path(root.layout.runs).chmod(0o755)
    done = root.call("doctor")
    assert done.code == 0
    assert "warn  .runs/" in done.out
    assert "chmod 700" in done.out


def test_a_missing_root_is_bad(root: Root) -> None:
    done = doctor(root.path / "nowhere")
    assert (done.code, levels(done)) == (73, {"root": "bad"})


def test_a_wrong_setting_exits_with_78(root: Root) -> None:
    root.configure(settings="max_runs = 0\n")
    assert doctor(root.path).code == 78


@needs_root
def test_a_read_only_root_is_bad(root: Root) -> None:
    served(root.path)
    subprocess.run(["mount", "--bind", root.path, root.path], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", root.path], check=True)
        done = doctor(root.path)
        assert root.call("status").code == 0, "readers work"
    finally:
        subprocess.run(["umount", root.path], check=True)
    assert (done.code, finding(done, "writing")["level"]) == (73, "bad")
    assert "remount" in finding(done, "writing")["fix"]


@needs_root
def test_a_full_file_system_is_bad(root: Root) -> None:
    small = root.path / "small"
    with mounted(small, "size=512k,nr_inodes=40"):
        served(small)
        found = os.statvfs(small)
        (small / "fill").write_bytes(b"x" * found.f_bavail * found.f_frsize)
        done = doctor(small)
    assert done.code == 73
    assert levels(done)["space"] == levels(done)["inodes"] == "bad"
    assert "make room" in finding(done, "writing")["fix"]


@needs_root
def test_too_little_room_for_max_runs_is_a_warning(root: Root) -> None:
    with mounted(root.path / "small", "size=3m,nr_inodes=400"):
        done = doctor(root.path / "small")
    assert done.code == 0
    assert levels(done)["space"] == levels(done)["inodes"] == "warn"


def test_a_disk_without_flock_is_bad(root: Root, shim: Path, tmp_path: Path) -> None:
    served(root.path)
    log = tmp_path / "calls"
    env = {
        "LD_PRELOAD": str(shim),
        "CRASHPOINT_BELOW": root.layout.control,
        "CRASHPOINT_ROLE": "supervisor doctor",
        "CRASHPOINT_LOG": str(log),
        "CRASHPOINT_MODE": "count",
    }
    assert root.call("doctor", env=env).code == 0
    calls = [line.split(maxsplit=2) for line in log.read_text().splitlines()]
    at = next(number for number, name, path in calls if name == "flock" and "doctor" in path)
    done = root.call(
        "doctor", "--json", env=env | {"CRASHPOINT_AT": at, "CRASHPOINT_MODE": "errno:37"}
    )
    assert (done.code, finding(done, "locking")["level"]) == (73, "bad")
    assert "local file system" in finding(done, "locking")["fix"]
    assert not list(Path(root.layout.control).glob("*.tmp"))


def checked(directory: Path) -> dict[str, CheckResult]:
    return {found.check: found for found in check_disk(str(directory))}


def test_a_flock_without_effect_is_bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)
    assert checked(tmp_path)["locking"].level is Level.BAD


def test_a_directory_that_cannot_be_flushed_is_bad(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: str) -> None:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr("supervisor.doctor.disk.sync_dir", refuse)
    assert checked(tmp_path)["flushing"].level is Level.BAD
    assert list(tmp_path.iterdir()) == []


def test_a_rename_that_does_not_replace_is_bad(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "rename", lambda *_: None)
    assert checked(tmp_path)["replacing"].level is Level.BAD
    assert list(tmp_path.iterdir()) == []


def test_a_file_server_with_another_clock_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("supervisor.doctor.disk.time.time", lambda: 1_000_000_000.0)
    assert checked(tmp_path)["file times"].level is Level.WARN


@pytest.mark.parametrize(("limit", "level", "code"), [(64, "warn", 0), (24, "bad", 73)])
def test_too_few_descriptors_are_reported(root: Root, limit: int, level: str, code: int) -> None:
    done = root.call("doctor", "--json", under=["prlimit", f"--nofile={limit}"])
    assert (done.code, levels(done)["descriptors"]) == (code, level)
    assert "82 needed for max_runs = 50" in finding(done, "descriptors")["what"]


def machine(monkeypatch: pytest.MonkeyPatch, directory: Path) -> dict[str, CheckResult]:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    return {found.check: found for found in check_machine(max_runs=50, watched=str(directory))}


def test_a_low_process_limit_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (100, 100))
    assert machine(monkeypatch, tmp_path)["processes"].level is Level.WARN


def test_a_clock_at_1970_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "gmtime", lambda *_: time.struct_time((1970, 1, 1, 0, 0, 9, 3, 1, 0)))
    assert machine(monkeypatch, tmp_path)["clock"].level is Level.WARN


def test_a_kernel_without_pidfds_is_bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int) -> int:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", refuse)
    assert machine(monkeypatch, tmp_path)["pidfd"].level is Level.BAD


def test_no_watchdog_is_a_warning(root: Root) -> None:
    done = root.call("doctor", "--json", env=without_module("watchdog", root.path / "blocked"))
    assert (done.code, levels(done)["watching"]) == (0, "warn")


def test_lease_check_names_a_living_a_stopped_and_a_dead_supervisor(root: Root) -> None:
    process = root.serving()
    held = finding(doctor(root.path), "lease")
    assert held["level"] == "ok"
    assert f"pid {process.pid} since" in held["what"]
    process.send_signal(signal.SIGSTOP)
    wait_until(lambda: (s := proc_stat(process.pid)) and s.state == "T", "it is stopped")
    stopped = finding(doctor(root.path), "lease")
    assert (stopped["level"], stopped["fix"]) == ("warn", f"kill -CONT {process.pid}")
    process.kill()
    process.wait()
    dead = finding(doctor(root.path), "lease")
    assert (dead["level"], "left by a supervisor that died" in dead["what"]) == ("warn", True)


def test_a_lease_held_by_a_foreign_process_is_a_warning(root: Root) -> None:
    served(root.path)
    with open(root.layout.lease_lock, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert finding(doctor(root.path), "lease")["level"] == "warn"


def test_waiting_requests_and_leftovers_are_counted(root: Root) -> None:
    served(root.path)
    assert root.call("submit", "--", "true").code == 0
    for name in ("inbox/.x.json.1-1-0.tmp", "rejected/garbage.json"):
        Path(root.layout.control, name).touch()
    found = levels(doctor(root.path))
    assert [found[check] for check in ("inbox", "rejected", "leftovers")] == ["warn"] * 3


def test_unfinished_runs_without_a_supervisor_are_counted(root: Root) -> None:
    process = root.serving()
    assert root.call("submit", "--", "sleep", "300").code == 0
    wait_until(root.stages, "it runs")
    process.kill()
    process.wait()
    assert finding(doctor(root.path), "accepted")["level"] == "warn"
    assert alive(str(root.path)), "doctor ended no process"


def test_records_from_the_future_are_a_warning(root: Root) -> None:
    root.configure('[pipelines.p]\nstages = [{ id = "s", command = "true" }]\n')
    assert root.call("start", "--once", "p").code == 0
    line = {**root.history()[0], "timestamp": "2999-01-01T00:00:00.000Z"}
    root.write("out/t/history.ndjson", json.dumps(line) + "\n")
    Path(root.layout.task_dir("t")).mkdir()
    assert levels(doctor(root.path))["records"] == "warn"


@pytest.mark.fault("S30")
@pytest.mark.parametrize(
    ("address", "level", "words"),
    [
        ("tcp://127.0.0.1:{port}", Level.WARN, "every user of this host can run code as you"),
        ("tcp://localhost:{port}", Level.WARN, "every user of this host can run code as you"),
        ("tls://127.0.0.1:{port}", Level.OK, "listens"),
    ],
)
def test_a_scheduler_without_tls_is_a_warning(address: str, level: Level, words: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        found = check_scheduler(address.format(port=server.getsockname()[1]))
    assert found.level is level
    assert words in found.what
    assert bool(found.fix) is (level is Level.WARN)

"""A zygote that does not answer, does not start, or cannot fork."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.launchers import zygote_client as module
from supervisor.launchers.spawner import LaunchedWorker, LaunchFailure
from supervisor.launchers.zygote_client import FAILURES_COUNT, ZygoteSpawner
from workers.processes.tree import Process
from workers.records.layout import RunDir


class Fallback:
    """Counts what it is asked for."""

    def __init__(self) -> None:
        self.launches_count = 0

    def launch(self, run: RunDir, owner_fd: int) -> LaunchedWorker | LaunchFailure:
        self.launches_count += 1
        return LaunchFailure("a fake", transient=False)

    def helpers(self) -> tuple[Process, ...]:
        return ()

    def close(self) -> None:
        pass


@pytest.fixture
def fallback() -> Fallback:
    return Fallback()


@pytest.fixture
def launcher(tmp_path: Path, fallback: Fallback) -> Iterator[ZygoteSpawner]:
    made = ZygoteSpawner()
    made.configure(str(tmp_path / "workers.log"), fallback)
    yield made
    made.close()


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """What is no run: a worker of it ends at once with 2."""
    return RunDir(str(tmp_path / "no-run"))


@pytest.fixture
def owner_fd(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path / "owner", os.O_RDWR | os.O_CREAT)
    yield fd
    os.close(fd)


def test_launched_worker_has_its_identity_and_exit_code(
    launcher: ZygoteSpawner, run: RunDir, owner_fd: int, tmp_path: Path
) -> None:
    worker = launcher.launch(run, owner_fd)
    assert isinstance(worker, LaunchedWorker)
    assert worker.start_ticks > 0
    assert worker.reap() == 2
    assert "it is no run" in (tmp_path / "workers.log").read_text()


def test_stderr_of_an_early_zygote_goes_to_the_configured_file(
    tmp_path: Path, fallback: Fallback, run: RunDir, owner_fd: int
) -> None:
    early = ZygoteSpawner()
    try:
        before = early.prepare()
        early.configure(str(tmp_path / "workers.log"), fallback)
        worker = early.launch(run, owner_fd)
        assert isinstance(worker, LaunchedWorker)
        assert worker.reap() == 2
        assert early.prepare() is before
        assert "it is no run" in (tmp_path / "workers.log").read_text()
    finally:
        early.close()


def test_stopped_zygote_is_killed_and_replaced_at_the_next_launch(
    launcher: ZygoteSpawner, run: RunDir, owner_fd: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ANSWER_S", 0.2)
    stopped = launcher.prepare()
    pid, _ = stopped.process
    os.kill(pid, signal.SIGSTOP)
    failed = launcher.launch(run, owner_fd)
    assert isinstance(failed, LaunchFailure)
    assert failed.transient
    assert not os.path.exists(f"/proc/{pid}")
    monkeypatch.undo()
    worker = launcher.launch(run, owner_fd)
    assert isinstance(worker, LaunchedWorker)
    assert worker.reap() == 2


def test_fallback_starts_workers_if_no_zygote_ever_answers(
    launcher: ZygoteSpawner,
    fallback: Fallback,
    run: RunDir,
    owner_fd: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_PROGRAM", "raise SystemExit(1)")
    for _ in range(FAILURES_COUNT):
        failed = launcher.launch(run, owner_fd)
        assert isinstance(failed, LaunchFailure)
        assert failed.transient
    assert fallback.launches_count == 0
    launcher.launch(run, owner_fd)
    assert fallback.launches_count == 1


def test_zygote_that_cannot_be_started_is_a_failed_launch(
    launcher: ZygoteSpawner, run: RunDir, owner_fd: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    failed = launcher.launch(run, owner_fd)
    assert isinstance(failed, LaunchFailure)
    assert failed.transient


def test_refused_fork_is_a_failed_launch_and_the_zygote_stays(
    launcher: ZygoteSpawner, run: RunDir, owner_fd: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse = "import os, errno\ndef fork(): raise OSError(errno.EAGAIN, 'no')\nos.fork = fork\n"
    monkeypatch.setattr(module, "_PROGRAM", refuse + module._PROGRAM)
    failed = launcher.launch(run, owner_fd)
    assert isinstance(failed, LaunchFailure)
    assert failed.transient
    assert failed.reason.startswith("EAGAIN")
    zygote = launcher.prepare()
    launcher.launch(run, owner_fd)
    assert launcher.prepare() is zygote

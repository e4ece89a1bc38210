"""Which process may run a run, and the arguments of the program."""

import fcntl
import json
import os
from pathlib import Path

import pytest

from tests.contract.worker.work import Run, make, shell


def finish(run: Run, *arguments: str, fd: int | None = None) -> bytes:
    process = run.start(*arguments, pass_fds=() if fd is None else (fd,))
    _, err = process.communicate(timeout=60)
    run.code = process.returncode
    return err


@pytest.mark.fault("P2", "P27")
def test_passed_lock_is_used_and_no_stage_inherits_it(tmp_path: Path) -> None:
    run = make(tmp_path, [shell("ls -l /proc/$$/fd")])
    fd = os.open(run.run.owner, os.O_RDWR)
    fcntl.flock(fd, fcntl.LOCK_EX)
    try:
        finish(run, "--owner-fd", str(fd), fd=fd)
    finally:
        os.close(fd)
    assert (run.code, run.verdict["status"]) == (0, "succeeded")
    assert b".owner" not in run.log(1, "s")


def test_lock_is_held_until_the_worker_ends(tmp_path: Path) -> None:
    script = f"flock -n {tmp_path}/.runs/t/cli/*/.owner true && echo free || echo held"
    run = make(tmp_path, [shell(script)])
    finish(run)
    assert run.log(1, "s") == b"held\n"
    with open(run.run.owner, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize("which", ["another file", "closed"])
def test_descriptor_of_another_file_is_refused(tmp_path: Path, which: str) -> None:
    run = make(tmp_path, [shell("touch ran")])
    fd = os.open(run.run.spec, os.O_RDONLY)
    arguments = ("--owner-fd", str(fd) if which == "another file" else "900")
    try:
        err = finish(run, *arguments, fd=fd)
    finally:
        os.close(fd)
    assert run.code == 73
    assert b"descriptor" in err
    assert not (tmp_path / "ran").exists()


def test_second_placement_does_nothing_and_appends_nothing(tmp_path: Path) -> None:
    run = make(tmp_path, [shell("touch ran")])
    started = {"seq": 2, "at": "x", "mono_s": 1.0, "event": "run_started", "by": "worker"}
    with open(run.run.journal, "a", encoding="utf-8") as file:
        file.write(json.dumps(started) + "\n")
    before = Path(run.run.journal).read_bytes()
    err = finish(run)
    assert run.code == 75
    assert b"began this run" in err
    assert Path(run.run.journal).read_bytes() == before
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "arguments",
    [("--owner-fd",), ("--owner-fd", "x"), ("--owner-fd", "-1"), ("--else", "3"), ("a",)],
)
def test_wrong_arguments_are_a_usage_error_that_starts_nothing(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    run = make(tmp_path, [shell("touch ran")])
    err = finish(run, *arguments)
    assert run.code == 2
    assert b"usage" in err
    assert not (tmp_path / "ran").exists()


def test_directory_that_is_no_run_stays_unchanged(tmp_path: Path) -> None:
    from workers.records.layout import RunDir

    run = Run(tmp_path, RunDir(str(tmp_path)))
    finish(run)
    assert run.code == 2
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("content", ["", "{}", '{"schema": "pipeline-supervisor/spec/1"}'])
def test_bad_spec_becomes_a_failed_verdict(tmp_path: Path, content: str) -> None:
    run = make(tmp_path, [shell("touch ran")])
    Path(run.run.spec).write_text(content)
    err = finish(run)
    assert run.code == 65
    assert b"not a valid record" in err
    assert run.verdict["status"] == "failed"
    assert "not a valid record" in run.verdict["reason"]

"""Hooks on a disk that refuses writes, and the output that is kept of a hook."""

import errno
import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from supervisor.daemon.hooks import hook_process, hook_results
from supervisor.daemon.hooks import runner as hooks_module
from supervisor.daemon.hooks.hook_process import OUTPUT_LIMIT_BYTES, HookProcess
from supervisor.daemon.hooks.runner import Hooks
from supervisor.store.log import Log
from tests.faults.damage import accept, spec_in
from tests.root import Root, wait_until
from workers.output.masking import Mask
from workers.records.atomic import replace_file
from workers.records.hooks import HookEvent, HookSpec
from workers.records.spec import RunSpec

VERDICT = {"status": "succeeded", "detail": None, "reason": None, "duration_s": 1.0}


class Disk:
    """Refuses the next writes of a hook's record that say something."""

    def __init__(self) -> None:
        self.refuses: Callable[[bytes], bool] = lambda _: False
        self.refused_count = 0
        self.flushed: list[bool] = []

    def replace(self, path: str, data: bytes, **more: Any) -> object:
        if self.refuses(data):
            self.refused_count += 1
            raise OSError(errno.EIO, "input/output error", path)
        self.flushed.append(more.get("flush", True))
        return replace_file(path, data, **more)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    made = Disk()
    monkeypatch.setattr(hooks_module, "replace_file", made.replace)
    monkeypatch.setattr(hook_results, "replace_file", made.replace)
    monkeypatch.setattr(hook_results, "RETRY_EVERY_S", 0.0)
    return made


def hooks_of(root: Root, owed_wait_s: float) -> Hooks:
    return Hooks(
        root.layout,
        Log(root.layout.log),
        lambda _: None,
        root_id="1f-7",
        sweep=lambda _: 0,
        timeout_s=30.0,
        owed_wait_s=owed_wait_s,
    )


def made(root: Root) -> tuple[Hooks, RunSpec]:
    spec = spec_in("t", 1)
    commands = ((HookEvent.SUCCESS, "true"), (HookEvent.FINISH, "echo later >> told"))
    spec = replace(spec, hooks=tuple(HookSpec(on=on, command=text) for on, text in commands))
    accept(root, [spec], begun=True, ended=True)
    return hooks_of(root, 60.0), spec


def status(root: Root, spec: RunSpec, event: HookEvent) -> str:
    path = root.layout.run_dir(spec.task_id, spec.run_id).hook(event)
    return str(json.loads(Path(path).read_text())["status"])


def polled(hooks: Hooks) -> bool:
    hooks.poll()
    return not hooks.is_busy


@pytest.mark.fault("R3")
def test_refused_end_of_a_hook_is_written_later_and_the_next_hook_waits(
    root: Root, disk: Disk
) -> None:
    hooks, spec = made(root)
    disk.refuses = lambda data: b"ended_at" in data
    hooks.owe(spec, VERDICT)
    wait_until(lambda: polled(hooks) or disk.refused_count > 2, "the disk refuses")
    assert hooks.is_busy
    assert status(root, spec, HookEvent.SUCCESS) == "started"
    assert not (root.path / "told").exists()
    disk.refuses = lambda _: False
    wait_until(lambda: polled(hooks), "all is written")
    assert status(root, spec, HookEvent.SUCCESS) == "succeeded"
    assert status(root, spec, HookEvent.FINISH) == "succeeded"
    assert os.listdir(root.layout.hooks) == []


@pytest.mark.fault("F16")
def test_record_of_a_hook_is_flushed_whenever_it_is_replaced(root: Root, disk: Disk) -> None:
    hooks, spec = made(root)
    hooks.owe(spec, VERDICT)
    wait_until(lambda: polled(hooks), "both have ended")
    assert len(disk.flushed) == 6, "claimed, named and ended, each of two"
    assert all(disk.flushed)


@pytest.mark.fault("R3")
def test_refused_record_of_an_interrupted_hook_keeps_its_marker(root: Root, disk: Disk) -> None:
    hooks, spec = made(root)
    disk.refuses = lambda data: b"ended_at" in data
    hooks.owe(spec, VERDICT)
    wait_until(lambda: polled(hooks) or disk.refused_count > 0, "the disk refuses")
    later = hooks_of(root, 0.0)
    disk.refuses = lambda data: b"interrupted" in data
    run = root.layout.run_dir(spec.task_id, spec.run_id)
    Path(run.manifest).write_text(json.dumps({"status": "succeeded", "extensions": {}}))
    later.recover()
    count = disk.refused_count
    later.poll()
    assert disk.refused_count > count
    assert not later.is_busy, "it was waited for long enough"
    assert os.listdir(root.layout.hooks) == [spec.run_id]
    disk.refuses = lambda _: False
    wait_until(lambda: polled(later) and not os.listdir(root.layout.hooks), "all is written")
    assert status(root, spec, HookEvent.SUCCESS) == "interrupted"
    assert status(root, spec, HookEvent.FINISH) == "succeeded"


@pytest.mark.fault("P28")
def test_late_hook_that_cannot_be_signalled_is_reported_and_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: int) -> None:
        raise PermissionError(errno.EPERM, "not permitted")

    monkeypatch.setattr(hook_process, "GRACE_S", 0.0)
    monkeypatch.setattr(hook_process, "GIVE_UP_S", 0.2)
    (tmp_path / "stdin").touch()
    hook = HookProcess(
        ("sleep", "600"),
        cwd=str(tmp_path),
        env=dict(os.environ),
        stdin_path=str(tmp_path / "stdin"),
        timeout_s=0.0,
        mask=None,
    )
    pid = hook.process[0]
    try:
        with monkeypatch.context() as patched:
            patched.setattr(os, "killpg", forbidden)
            patched.setattr(os, "kill", forbidden)
            end = wait_until(hook.poll, "it is given up")
        assert (end.status, end.exit_code, end.signal) == ("timed-out", None, None)
        assert f"process {pid} of uid {os.getuid()} may not be signalled" in end.reason
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


@pytest.mark.fault("S1")
@pytest.mark.parametrize("behind", [0, 1, 20, OUTPUT_LIMIT_BYTES - 3, OUTPUT_LIMIT_BYTES - 1])
def test_secret_at_the_cut_of_a_hooks_output_is_masked(tmp_path: Path, behind: int) -> None:
    secret = "0123456789abcdefghij"
    (tmp_path / "stdin").touch()
    text = f"import time; print({secret!r}, end='', flush=True); print('x' * {behind}, end='')"
    hook = HookProcess(
        (sys.executable, "-c", text),
        cwd=str(tmp_path),
        env=dict(os.environ),
        stdin_path=str(tmp_path / "stdin"),
        timeout_s=30.0,
        mask=Mask((secret.encode(),)),
    )
    end = wait_until(hook.poll, "it ends")
    assert end.output == (b"***" + b"x" * behind)[-OUTPUT_LIMIT_BYTES:]
    assert end.dropped_bytes == max(0, behind + 3 - OUTPUT_LIMIT_BYTES)

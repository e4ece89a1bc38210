"""A reader of our output may stop or be slow: the supervisor never waits for it."""

import contextlib
import fcntl
import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO, cast

import pytest

from supervisor.report.text.nonblocking_stream import BACKLOG_LIMIT_BYTES, Outlet
from tests.root import Root, wait_until

pytestmark = pytest.mark.fault("V10")

STOP, GO = b"\x13", b"\x11"  # Ctrl-S, Ctrl-Q
BATCH = '[[runs]]\npipeline = "quick"\ncount = 12\n'
PIPELINES = '[pipelines.quick]\nstages = [{ id = "s", command = "true" }]\n'


@contextlib.contextmanager
def terminal() -> Iterator[tuple[int, int]]:
    """The two ends of a terminal: the user's and the program's."""
    ours, theirs = pty.openpty()
    try:
        yield ours, theirs
    finally:
        os.close(ours)
        with contextlib.suppress(OSError):
            os.close(theirs)


def start(root: Root, theirs: int, *words: str) -> "subprocess.Popen[bytes]":
    """``start`` in a terminal, in a session of its own."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("SUPERVIS")}
    return subprocess.Popen(
        [sys.executable, "-m", "supervisor", "start", *words],
        cwd=root.path,
        env={**env, "TERM": "xterm", "XDG_CONFIG_HOME": str(root.path / "xdg")},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )


def reading(fd: int) -> tuple[threading.Thread, bytearray]:
    """Read a terminal to its end, in a thread."""
    got = bytearray()

    def read() -> None:
        with contextlib.suppress(OSError):  # EIO: the program's end is closed
            while part := os.read(fd, 65_536):
                got.extend(part)

    thread = threading.Thread(target=read)
    thread.start()
    return thread, got


@pytest.mark.parametrize("stop", [STOP, b""], ids=["stopped by Ctrl-S", "not read"])
def test_terminal_that_takes_nothing_delays_nothing(root: Root, stop: bytes) -> None:
    root.configure(PIPELINES)
    root.write("batch.toml", BATCH)
    with terminal() as (ours, theirs):
        os.write(ours, stop)
        if not stop:
            fill(theirs)
        process = start(root, theirs, "--once", "--batch", "batch.toml")
        try:
            assert process.wait(60) == 0
        finally:
            process.kill()
            process.wait()
    root.check_settled(count=12)


def fill(fd: int) -> None:
    """Write until nothing more is taken."""
    flags = fcntl.fcntl(fd, fcntl.F_GETFL)
    os.set_blocking(fd, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(fd, b"x" * 512)
    fcntl.fcntl(fd, fcntl.F_SETFL, flags)


def test_supervisor_with_stopped_terminal_reloads_and_ends(root: Root) -> None:
    view = Path(root.layout.status)
    with terminal() as (ours, theirs):
        process = start(root, theirs)
        try:
            wait_until(view.exists, "it serves")
            os.write(ours, STOP)
            root.configure(settings="max_runs = 7")
            process.send_signal(signal.SIGHUP)
            wait_until(lambda: '"max_runs": 7' in view.read_text(), "it has reloaded")
            run_id = root.call("submit", "--", "true").out.strip()
            assert root.call("wait", run_id).code == 0
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 143
        finally:
            process.kill()
            process.wait()


def test_continued_terminal_shows_every_waiting_line(root: Root) -> None:
    root.configure(PIPELINES)
    with terminal() as (ours, theirs):
        process = start(root, theirs)
        thread, got = reading(ours)
        try:
            wait_until(Path(root.layout.status).exists, "it serves")
            os.write(ours, STOP)
            ids = [root.call("submit", "--", "true").out.strip() for _ in range(3)]
            assert root.call("wait", *ids).code == 0
            os.write(ours, GO)
            wait_until(lambda: all(run_id.encode() in got for run_id in ids), "all is shown")
            process.send_signal(signal.SIGTERM)
            process.wait(60)
        finally:
            process.kill()
            process.wait()
            os.close(theirs)
            thread.join(60)


@contextlib.contextmanager
def narrow_pipe() -> Iterator[tuple[int, TextIO]]:
    """A pipe that holds one page."""
    read_fd, write_fd = os.pipe()
    fcntl.fcntl(write_fd, fcntl.F_SETPIPE_SZ, 4096)
    with os.fdopen(write_fd, "w") as stream:
        try:
            yield read_fd, stream
        finally:
            os.close(read_fd)


def test_backlog_reaches_a_slow_reader_complete_and_in_order() -> None:
    with narrow_pipe() as (read_fd, stream):
        outlet = Outlet(stream)
        lines = [f"{number} {'é' * (number % 90)}\n" for number in range(2000)]
        for line in lines:
            outlet.write(line)
        got = b""
        while not outlet.is_idle:
            got += os.read(read_fd, 1000)
        outlet.close()
        stream.close()
        while part := os.read(read_fd, 65_536):
            got += part
    assert got.decode() == "".join(lines)
    assert outlet.dropped_count == 0


def test_texts_without_reader_are_dropped_whole_and_counted() -> None:
    with narrow_pipe() as (_, stream):
        outlet = Outlet(stream)
        line = "x" * 9_999 + "\n"
        count = 2 * BACKLOG_LIMIT_BYTES // len(line)
        for _number in range(count):
            outlet.write(line)
        kept_at_most = (BACKLOG_LIMIT_BYTES + 4096) // len(line) + 1
        assert count - kept_at_most <= outlet.dropped_count < count
        outlet.settle(0)
        assert outlet.dropped_count == count, "the first was begun and never ended"
        outlet.close()


def test_stream_that_cannot_be_opened_again_is_polled_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    with narrow_pipe() as (read_fd, stream), monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        outlet = Outlet(cast("TextIO", stream))
        outlet.write("y" * 10_000)
        assert not outlet.is_idle
        got = b""
        while not outlet.is_idle:
            got += os.read(read_fd, 4096)
        got += os.read(read_fd, 4096)
        outlet.close()
    assert got == b"y" * 10_000

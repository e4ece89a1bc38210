"""The hints end without a word."""

import logging
import threading
from pathlib import Path

import pytest

from supervisor.daemon.watcher import Watcher

inotify = pytest.importorskip("watchdog.observers.inotify")


def test_failing_thread_at_shutdown_prints_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    reached, go = threading.Event(), threading.Event()

    def overtaken(self: threading.Thread, timeout: float) -> None:
        reached.set()
        go.wait(10)
        raise AssertionError("called when the thread is inactive")

    monkeypatch.setattr(inotify.InotifyEmitter, "queue_events", overtaken)
    before = threading.excepthook
    watcher = Watcher(str(tmp_path))
    assert watcher.state == "inotify"
    assert reached.wait(10)
    threading.Timer(0.05, go.set).start()
    watcher.close()
    assert "AssertionError" not in capfd.readouterr().err
    assert threading.excepthook is before


@pytest.mark.fault("M11")
def test_watchdogs_log_is_not_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Watcher(str(tmp_path)).close()
    for name in ("watchdog", "watchdog.observers.inotify_buffer"):
        logging.getLogger(name).error("InotifyEmitter.queue_events() called")
    assert capfd.readouterr().err == ""


@pytest.mark.fault("M7")
def test_inbox_is_polled_if_no_thread_can_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    watcher = Watcher(str(tmp_path))
    assert watcher.state == "polling (can't start new thread)"
    watcher.close()

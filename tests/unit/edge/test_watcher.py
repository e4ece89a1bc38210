"""The hints end without a word."""

import threading
from pathlib import Path

import pytest

from supervisor.edge.watcher import Watcher

inotify = pytest.importorskip("watchdog.observers.inotify")


def test_a_thread_that_its_own_end_overtakes_says_nothing(
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

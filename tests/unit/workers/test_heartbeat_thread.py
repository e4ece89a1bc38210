import _thread
import os
import time
from pathlib import Path

import pytest

from workers.stages.heartbeat_thread import HeartbeatThread


def until(true: object, deadline_s: float = 20.0) -> None:
    limit = time.monotonic() + deadline_s
    while not true():  # type: ignore[operator]
        assert time.monotonic() < limit
        time.sleep(0.005)


def test_first_heartbeat_is_immediate_and_checks_the_cancel_file(tmp_path: Path) -> None:
    checks: list[int] = []
    heartbeat = HeartbeatThread(str(tmp_path / "beat"), 60.0, lambda: checks.append(1))
    heartbeat.start()
    try:
        assert len((tmp_path / "beat").read_text().splitlines()) == 1
        assert checks == [1]
    finally:
        heartbeat.stop()


def test_failed_heartbeat_is_counted_and_the_next_is_tried(tmp_path: Path) -> None:
    place = tmp_path / "beat"
    place.mkdir()
    heartbeat = HeartbeatThread(str(place), 0.01, lambda: None)
    heartbeat.start()
    try:
        until(lambda: heartbeat.failed_count >= 3)
        place.rmdir()
        until(lambda: heartbeat.ok_count >= 2)
    finally:
        heartbeat.stop()
    counts = heartbeat.to_json()
    assert counts["failed"] == heartbeat.failed_count
    assert len(place.read_text().splitlines()) == counts["ok"]


def test_stopped_heartbeat_leaves_no_thread(tmp_path: Path) -> None:
    before = _thread._count()
    heartbeat = HeartbeatThread(str(tmp_path / "beat"), 0.01, lambda: None)
    heartbeat.start()
    heartbeat.stop()
    heartbeat.stop()
    until(lambda: _thread._count() == before)  # the next time that it wakes


def test_shared_heartbeats_are_sent_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[int] = []
    monkeypatch.setattr(os, "posix_fadvise", lambda *words: sent.append(words[-1]))
    for shared in (False, True):
        heartbeat = HeartbeatThread(str(tmp_path / "beat"), 60.0, lambda: None, shared=shared)
        heartbeat.start()
        heartbeat.beat()
        heartbeat.stop()
        assert sent == ([os.POSIX_FADV_DONTNEED] * 2 if shared else [])

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


def test_the_first_beat_is_there_at_once_and_the_cancel_file_is_looked_for(tmp_path: Path) -> None:
    looks: list[int] = []
    pulse = HeartbeatThread(str(tmp_path / "beat"), 60.0, lambda: looks.append(1))
    pulse.start()
    try:
        assert len((tmp_path / "beat").read_text().splitlines()) == 1
        assert looks == [1]
    finally:
        pulse.stop()


def test_a_beat_that_fails_is_counted_and_the_next_is_tried(tmp_path: Path) -> None:
    place = tmp_path / "beat"
    place.mkdir()
    pulse = HeartbeatThread(str(place), 0.01, lambda: None)
    pulse.start()
    try:
        until(lambda: pulse.failed_count >= 3)
        place.rmdir()
        until(lambda: pulse.ok_count >= 2)
    finally:
        pulse.stop()
    told = pulse.to_json()
    assert told["failed"] == pulse.failed_count
    assert len(place.read_text().splitlines()) == told["ok"]


def test_a_stopped_pulse_leaves_no_thread(tmp_path: Path) -> None:
    before = _thread._count()
    pulse = HeartbeatThread(str(tmp_path / "beat"), 0.01, lambda: None)
    pulse.start()
    pulse.stop()
    pulse.stop()
    until(lambda: _thread._count() == before)  # the next time that it wakes


def test_beats_that_other_hosts_have_to_see_are_sent_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[int] = []
    monkeypatch.setattr(os, "posix_fadvise", lambda *words: sent.append(words[-1]))
    for shared in (False, True):
        pulse = HeartbeatThread(str(tmp_path / "beat"), 60.0, lambda: None, shared=shared)
        pulse.start()
        pulse.beat()
        pulse.stop()
        assert sent == ([os.POSIX_FADV_DONTNEED] * 2 if shared else [])

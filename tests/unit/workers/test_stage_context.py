import errno
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from workers.records.clock import SystemClock
from workers.records.journal import Event, JournalWriter
from workers.stages import stage_context as context_module
from workers.stages.control import Control
from workers.stages.stage_context import Recorder


class FullDisk(JournalWriter):
    """A journal whose next ``refuse`` appends fail."""

    refuse = 0

    def append(self, *args: object, **kwargs: object) -> object:  # type: ignore[override]
        if self.refuse > 0:
            self.refuse -= 1
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().append(*args, **kwargs)  # type: ignore[arg-type]


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FullDisk]:
    monkeypatch.setattr(context_module, "WRITE_DELAY_S", 0.001)
    (tmp_path / "journal").touch()
    writer = FullDisk(str(tmp_path / "journal"), by="worker", clock=SystemClock())
    yield writer
    writer.close()


@pytest.fixture
def control(tmp_path: Path) -> Control:
    return Control(str(tmp_path / "cancel.json"))


def events(tmp_path: Path) -> list[str]:
    return [json.loads(x)["event"] for x in (tmp_path / "journal").read_text().splitlines()]


def test_refused_facts_are_written_in_order_once_there_is_room(
    tmp_path: Path, journal: FullDisk, control: Control
) -> None:
    recorder = Recorder(journal, control)
    journal.refuse = 7  # five tries of the first, one of the second, one of the third
    recorder.record(Event.RUN_STARTED, {})
    recorder.record(Event.STAGE_STARTED, {"stage": "a"})
    recorder.record(Event.STAGE_ENDED, {"stage": "a"})
    assert events(tmp_path) == []
    assert recorder.record_verdict({"status": "succeeded"}, on_wait=lambda: None)
    expected = ["run_started", "stage_started", "stage_ended", "warning", "verdict"]
    assert events(tmp_path) == expected


def test_heartbeats_continue_while_the_verdict_waits_for_room(
    tmp_path: Path, journal: FullDisk, control: Control
) -> None:
    beats: list[int] = []
    journal.refuse = 4
    assert Recorder(journal, control).record_verdict({"status": "failed"}, lambda: beats.append(1))
    assert events(tmp_path) == ["warning", "verdict"]
    assert len(beats) == 4


def test_only_a_new_stop_signal_ends_the_tries_to_write_the_verdict(
    journal: FullDisk, control: Control
) -> None:
    journal.refuse = 10**9
    control.stop_count = 1  # it was cancelled: that is why there is a verdict to write
    tries: list[int] = []

    def wait() -> None:
        tries.append(1)
        if len(tries) == 3:
            control.stop_count += 1

    assert not Recorder(journal, control).record_verdict({"status": "cancelled"}, wait)
    assert len(tries) == 3

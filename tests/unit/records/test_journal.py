import errno
import os
from pathlib import Path

import pytest

from workers.records.clock import SystemClock
from workers.records.journal import Event, JournalReader, JournalWriter, read_journal, verdict_in
from workers.records.typed_errors import BadFileError


def writer(path: Path, by: str = "worker") -> JournalWriter:
    return JournalWriter(str(path), by=by, clock=SystemClock())


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    path = tmp_path / "journal.ndjson"
    path.touch()
    return path


def test_facts_are_read_in_order_and_each_once(journal: Path) -> None:
    reader = JournalReader(str(journal))
    pen = writer(journal)
    pen.append(Event.RUN_STARTED, {"attempt": 1})
    assert [f.event for f in reader.read_new()] == ["run_started"]
    assert reader.read_new() == []
    pen.append(Event.WARNING, {"code": "x"})
    (fact,) = reader.read_new()
    assert (fact.seq, fact.by, fact.data["code"]) == (2, "worker", "x")
    pen.close()


@pytest.mark.parametrize("cut", range(1, 60))
def test_torn_last_line_is_ignored_and_never_joined_or_revived(journal: Path, cut: int) -> None:
    pen = writer(journal)
    pen.append(Event.RUN_STARTED, {})
    pen.append(Event.VERDICT, {"status": "succeeded"})
    pen.close()
    whole = journal.read_bytes()
    journal.write_bytes(whole[:-cut])
    assert [f.event for f in read_journal(str(journal))] == ["run_started"]
    later = writer(journal, by="supervisor")
    later.append(Event.VERDICT, {"status": "failed"})
    later.close()
    facts = read_journal(str(journal))
    assert [f.event for f in facts] == ["run_started", "verdict"]
    verdict = verdict_in(facts)
    assert verdict is not None
    assert (verdict.data["status"], verdict.seq) == ("failed", 2)


def test_refused_write_does_not_damage_later_facts(
    journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pen = writer(journal)
    real = os.write

    def short_then_full(fd: int, data: bytes) -> int:
        real(fd, bytes(data[:10]))
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", short_then_full)
    with pytest.raises(OSError, match="No space"):
        pen.append(Event.WARNING, {"code": "lost"})
    monkeypatch.undo()
    pen.append(Event.WARNING, {"code": "kept"})
    pen.close()
    reader = JournalReader(str(journal))
    assert [f.data["code"] for f in reader.read_new()] == ["kept"]
    assert reader.bad_lines_count == 0, "a closed torn line is no damage"
    with open(journal, "a") as file:
        file.write("garbage\n")
    assert reader.read_new() == []
    assert reader.bad_lines_count == 1


def test_first_verdict_is_final(journal: Path) -> None:
    pen = writer(journal)
    pen.append(Event.VERDICT, {"status": "succeeded"})
    pen.append(Event.VERDICT, {"status": "failed"})
    pen.close()
    verdict = verdict_in(read_journal(str(journal)))
    assert verdict is not None
    assert verdict.data["status"] == "succeeded"


def test_link_or_fifo_in_place_of_the_journal_is_refused_at_once(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("secret\n")
    link, fifo = tmp_path / "link", tmp_path / "fifo"
    link.symlink_to(target)
    os.mkfifo(fifo)
    for path in (link, fifo, tmp_path):
        with pytest.raises(BadFileError):
            read_journal(str(path))


@pytest.mark.fault("F6")
def test_journal_whose_flush_failed_is_replaced_and_not_flushed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal.ndjson"
    path.touch(mode=0o600)
    flushed: list[int] = []

    def refuse(fd: int) -> None:
        flushed.append(os.fstat(fd).st_ino)
        raise OSError(errno.EIO, "broken")

    journal = JournalWriter(str(path), by="worker", clock=SystemClock())
    first = path.stat().st_ino
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", refuse)
        patch.setattr(os, "fsync", refuse)
        with pytest.raises(OSError, match="broken"):
            journal.append(Event.VERDICT, {"status": "succeeded"})
    journal.append(Event.WARNING, {"code": "c", "message": "m"}, flush=False)
    journal.append(Event.VERDICT, {"status": "succeeded"})
    journal.close()
    assert flushed.count(first) == 1
    assert path.stat().st_ino != first
    assert [fact.event for fact in read_journal(str(path))] == ["verdict", "warning"]

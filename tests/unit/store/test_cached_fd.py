"""A file that is looked at again and again, by a descriptor or by its name."""

import os
import resource
from pathlib import Path

import pytest

from supervisor.store.size_poller import CachedFd


def test_a_kept_file_is_seen_growing_and_replaced_and_gone(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_text("one")
    kept = CachedFd(str(path))
    assert kept.size() is None, "nobody has looked yet"
    assert kept.stat().st_size == 3
    with path.open("a") as file:
        file.write("two")
    assert (kept.size(), kept.stat().st_size) == (6, 6)
    (tmp_path / "other").write_text("another")
    os.rename(tmp_path / "other", path)
    assert kept.stat().st_size == 7, "what has the name now"
    path.unlink()
    with pytest.raises(FileNotFoundError):
        kept.stat()
    kept.close()


def test_a_file_that_was_moved_away_is_missed_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_text("one")
    kept = CachedFd(str(path))
    kept.stat()
    path.rename(tmp_path / "away")
    assert kept.stat().st_size == 3
    with pytest.raises(FileNotFoundError):
        kept.by_name()
    kept.close()


def test_where_descriptors_are_short_none_is_kept_and_looks_go_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal"
    path.write_text("one")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (8, 8))
    taken = [os.open(path, os.O_RDONLY) for _ in range(8)]
    kept = CachedFd(str(path))
    assert kept.stat().st_size == 3
    assert kept.size() is None
    for fd in taken:
        os.close(fd)

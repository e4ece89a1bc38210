"""A file that is polled, through a descriptor or by name."""

import os
import resource
from pathlib import Path

import pytest

from supervisor.store.size_poller import CachedFd


def test_cached_file_is_seen_to_grow_to_be_replaced_and_to_disappear(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_text("one")
    cached = CachedFd(str(path))
    assert cached.size() is None, "not opened yet"
    assert cached.stat().st_size == 3
    with path.open("a") as file:
        file.write("two")
    assert (cached.size(), cached.stat().st_size) == (6, 6)
    (tmp_path / "other").write_text("another")
    os.rename(tmp_path / "other", path)
    assert cached.stat().st_size == 7, "the file that has the name now"
    path.unlink()
    with pytest.raises(FileNotFoundError):
        cached.stat()
    cached.close()


def test_moved_file_is_missing_by_name(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_text("one")
    cached = CachedFd(str(path))
    cached.stat()
    path.rename(tmp_path / "away")
    assert cached.stat().st_size == 3
    with pytest.raises(FileNotFoundError):
        cached.by_name()
    cached.close()


def test_file_is_checked_by_name_if_descriptors_are_scarce(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal"
    path.write_text("one")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (8, 8))
    taken = [os.open(path, os.O_RDONLY) for _ in range(8)]
    cached = CachedFd(str(path))
    assert cached.stat().st_size == 3
    assert cached.size() is None
    for fd in taken:
        os.close(fd)

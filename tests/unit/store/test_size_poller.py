"""Files whose size is polled together."""

import os
from pathlib import Path

from supervisor.store.size_poller import CachedFd, SizePoller


def _cached(path: Path, text: str) -> CachedFd:
    path.write_text(text)
    cached = CachedFd(str(path))
    cached.stat()
    return cached


def test_poller_reports_a_changed_size_until_it_is_noted(tmp_path: Path) -> None:
    poller = SizePoller()
    files = {name: _cached(tmp_path / name, "x") for name in "abc"}
    for name, cached in files.items():
        poller.note(name, cached, 1)
    assert poller.changed() == []
    for name in "ac":
        (tmp_path / name).write_text("longer")
    assert poller.changed() == ["a", "c"]
    poller.note("a", files["a"], 6)
    assert poller.changed() == ["c"]
    assert sorted(poller.share(0, 2) + poller.share(1, 2)) == ["a", "b", "c"]
    for cached in files.values():
        cached.close()


def test_closed_descriptor_is_not_polled_even_if_its_number_is_reused(tmp_path: Path) -> None:
    poller = SizePoller()
    files = {name: _cached(tmp_path / name, "x") for name in "abc"}
    for name, cached in files.items():
        poller.note(name, cached, 1)
    number = files["a"].fd
    files["a"].close()
    other = os.open(tmp_path / "b", os.O_RDONLY)
    assert other == number, "the lowest free one"
    assert "a" not in poller.names()
    assert poller.changed() == []
    assert os.lseek(other, 0, os.SEEK_CUR) == 0, "it was left where it was"
    os.close(other)
    for name in "bc":
        files[name].close()
        assert name not in poller.names()
    assert poller.changed() == []


def test_replaced_file_is_noted_again(tmp_path: Path) -> None:
    poller = SizePoller()
    cached = _cached(tmp_path / "a", "x")
    poller.note("a", cached, 1)
    (tmp_path / "new").write_text("xyz")
    os.rename(tmp_path / "new", tmp_path / "a")
    assert cached.by_name().st_size == 3
    assert "a" not in poller.names(), "what was noted is closed"
    poller.note("a", cached, 3)
    assert poller.changed() == []
    cached.close()

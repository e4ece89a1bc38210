"""Many files at a glance."""

import os
from pathlib import Path

from supervisor.store.size_poller import CachedFd, SizePoller


def _kept(path: Path, text: str) -> CachedFd:
    path.write_text(text)
    kept = CachedFd(str(path))
    kept.stat()
    return kept


def test_a_glance_names_what_has_another_size_until_that_is_noted(tmp_path: Path) -> None:
    glance = SizePoller()
    files = {name: _kept(tmp_path / name, "x") for name in "abc"}
    for name, kept in files.items():
        glance.note(name, kept, 1)
    assert glance.changed() == []
    for name in "ac":
        (tmp_path / name).write_text("longer")
    assert glance.changed() == ["a", "c"]
    glance.note("a", files["a"], 6)
    assert glance.changed() == ["c"]
    assert sorted(glance.share(0, 2) + glance.share(1, 2)) == ["a", "b", "c"]
    for kept in files.values():
        kept.close()


def test_a_closed_descriptor_is_never_looked_at_whatever_has_its_number_now(tmp_path: Path) -> None:
    glance = SizePoller()
    files = {name: _kept(tmp_path / name, "x") for name in "abc"}
    for name, kept in files.items():
        glance.note(name, kept, 1)
    number = files["a"].fd
    files["a"].close()
    other = os.open(tmp_path / "b", os.O_RDONLY)
    assert other == number, "the lowest free one"
    assert "a" not in glance.names()
    assert glance.changed() == []
    assert os.lseek(other, 0, os.SEEK_CUR) == 0, "it was left where it was"
    os.close(other)
    for name in "bc":
        files[name].close()
        assert name not in glance.names()
    assert glance.changed() == []


def test_a_file_that_was_replaced_is_noted_anew(tmp_path: Path) -> None:
    glance = SizePoller()
    kept = _kept(tmp_path / "a", "x")
    glance.note("a", kept, 1)
    (tmp_path / "new").write_text("xyz")
    os.rename(tmp_path / "new", tmp_path / "a")
    assert kept.by_name().st_size == 3
    assert "a" not in glance.names(), "what was noted is closed"
    glance.note("a", kept, 3)
    assert glance.changed() == []
    kept.close()

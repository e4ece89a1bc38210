"""Replacing one file again and again, with the old one to write the next into."""

import errno
import os
from pathlib import Path

import pytest

from supervisor.store.double_buffered_file import DoubleBufferedFile
from workers.records.atomic import is_abandoned
from workers.records.typed_errors import BadFileError

OLD, NEW = b'{"at": 1}\n', b'{"at": 2}\n'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "manifest.json"
    found.touch(mode=0o600)
    return found


def inodes(spared: DoubleBufferedFile, path: Path, count: int) -> list[int]:
    found = []
    for number in range(count):
        spared.replace(b'{"at": %d}\n' % number, new_edition=not number, last=False)
        assert path.read_bytes() == b'{"at": %d}\n' % number
        found.append(path.stat().st_ino)
    return found


def test_two_files_take_turns_and_the_last_replacement_leaves_one(path: Path) -> None:
    spared = DoubleBufferedFile(str(path))
    one, two, *others = inodes(spared, path, 6)
    assert others == [one, two, one, two]
    (spare,) = (name for name in os.listdir(path.parent) if name != path.name)
    assert spare.startswith(".manifest.json.")
    assert not is_abandoned(spare), "the next start sweeps it when we are gone"
    spared.replace(OLD + NEW, new_edition=True, last=True)
    assert os.listdir(path.parent) == [path.name]
    assert path.read_bytes() == OLD + NEW


def test_only_what_holds_another_edition_is_flushed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (flushed.append(fd), fsync(fd)))
    spared = DoubleBufferedFile(str(path))
    inodes(spared, path, 6)
    assert len(flushed) == 2, "each of both files once"
    spared.replace(OLD, new_edition=True, last=False)
    spared.replace(NEW, new_edition=False, last=False)
    spared.replace(OLD, new_edition=False, last=False)
    assert len(flushed) == 4


def test_a_file_that_somebody_reads_is_not_written_into(path: Path) -> None:
    spared = DoubleBufferedFile(str(path))
    spared.replace(OLD, new_edition=True, last=False)
    with path.open("rb") as reader:
        for _ in range(3):
            spared.replace(NEW, new_edition=False, last=False)
        assert reader.read() == OLD


def test_a_file_with_one_more_name_is_not_written_into(path: Path) -> None:
    spared = DoubleBufferedFile(str(path))
    spared.replace(OLD, new_edition=True, last=False)
    os.link(path, path.parent / "copy")
    for _ in range(3):
        spared.replace(NEW, new_edition=False, last=False)
    assert (path.parent / "copy").read_bytes() == OLD
    assert path.read_bytes() == NEW


def test_a_shorter_content_leaves_nothing_of_a_longer_one(path: Path) -> None:
    spared = DoubleBufferedFile(str(path))
    for content in (OLD * 9, NEW, OLD, NEW * 5, NEW):
        spared.replace(content, new_edition=True, last=False)
        assert path.read_bytes() == content


def test_a_link_in_its_place_is_replaced_and_never_written_through(path: Path) -> None:
    spared = DoubleBufferedFile(str(path))
    spared.replace(OLD, new_edition=True, last=False)
    target = path.parent / "target"
    target.write_bytes(OLD)
    path.unlink()
    path.symlink_to(target)
    for _ in range(3):
        spared.replace(NEW, new_edition=False, last=False)
    assert not path.is_symlink()
    assert (path.read_bytes(), target.read_bytes()) == (NEW, OLD)


def test_a_directory_in_its_place_is_refused_and_nothing_is_left(path: Path) -> None:
    path.unlink()
    path.mkdir()
    spared = DoubleBufferedFile(str(path))
    with pytest.raises(BadFileError):
        spared.replace(NEW, new_edition=True, last=False)
    assert os.listdir(path.parent) == [path.name]


def test_who_leaves_leaves_no_spare_file(path: Path) -> None:
    spared = DoubleBufferedFile(str(path))
    inodes(spared, path, 2)
    spared.close()
    assert os.listdir(path.parent) == [path.name]


def test_a_spare_that_the_disk_refuses_to_remove_goes_with_the_next_replacement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = DoubleBufferedFile(str(tmp_path / "record"))
    for data in (b"one", b"two"):
        file.replace(data, new_edition=True, last=False)
    assert len(list(tmp_path.iterdir())) == 2  # the record, and its spare

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    with monkeypatch.context() as patched:
        for call in ("rename", "unlink", "pwrite"):
            patched.setattr(os, call, refuse)
        with pytest.raises(OSError, match="Read-only"):
            file.replace(b"three", new_edition=True, last=False)
    file.replace(b"four", new_edition=True, last=True)
    assert [path.name for path in tmp_path.iterdir()] == ["record"]
    assert (tmp_path / "record").read_bytes() == b"four"

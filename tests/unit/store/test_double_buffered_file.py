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


def inodes(file: DoubleBufferedFile, path: Path, count: int) -> list[int]:
    found = []
    for number in range(count):
        file.replace(b'{"at": %d}\n' % number, new_edition=not number, last=False)
        assert path.read_bytes() == b'{"at": %d}\n' % number
        found.append(path.stat().st_ino)
    return found


def test_two_files_take_turns_and_the_last_replacement_leaves_one(path: Path) -> None:
    file = DoubleBufferedFile(str(path))
    one, two, *others = inodes(file, path, 6)
    assert others == [one, two, one, two]
    (spare,) = (name for name in os.listdir(path.parent) if name != path.name)
    assert spare.startswith(".manifest.json.")
    assert not is_abandoned(spare), "the next start sweeps it when we are gone"
    file.replace(OLD + NEW, new_edition=True, last=True)
    assert os.listdir(path.parent) == [path.name]
    assert path.read_bytes() == OLD + NEW


def test_only_a_new_edition_is_flushed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (flushed.append(fd), fsync(fd)))
    file = DoubleBufferedFile(str(path))
    inodes(file, path, 6)
    assert len(flushed) == 2, "each of both files once"
    file.replace(OLD, new_edition=True, last=False)
    file.replace(NEW, new_edition=False, last=False)
    file.replace(OLD, new_edition=False, last=False)
    assert len(flushed) == 4


def test_file_that_is_being_read_is_not_written_into(path: Path) -> None:
    file = DoubleBufferedFile(str(path))
    file.replace(OLD, new_edition=True, last=False)
    with path.open("rb") as reader:
        for _ in range(3):
            file.replace(NEW, new_edition=False, last=False)
        assert reader.read() == OLD


def test_file_with_another_name_is_not_written_into(path: Path) -> None:
    file = DoubleBufferedFile(str(path))
    file.replace(OLD, new_edition=True, last=False)
    os.link(path, path.parent / "copy")
    for _ in range(3):
        file.replace(NEW, new_edition=False, last=False)
    assert (path.parent / "copy").read_bytes() == OLD
    assert path.read_bytes() == NEW


def test_shorter_content_leaves_nothing_of_longer_content(path: Path) -> None:
    file = DoubleBufferedFile(str(path))
    for content in (OLD * 9, NEW, OLD, NEW * 5, NEW):
        file.replace(content, new_edition=True, last=False)
        assert path.read_bytes() == content


def test_link_in_its_place_is_replaced_and_not_followed(path: Path) -> None:
    file = DoubleBufferedFile(str(path))
    file.replace(OLD, new_edition=True, last=False)
    target = path.parent / "target"
    target.write_bytes(OLD)
    path.unlink()
    path.symlink_to(target)
    for _ in range(3):
        file.replace(NEW, new_edition=False, last=False)
    assert not path.is_symlink()
    assert (path.read_bytes(), target.read_bytes()) == (NEW, OLD)


def test_directory_in_its_place_is_refused_and_leaves_no_temporary_file(path: Path) -> None:
    path.unlink()
    path.mkdir()
    file = DoubleBufferedFile(str(path))
    with pytest.raises(BadFileError):
        file.replace(NEW, new_edition=True, last=False)
    assert os.listdir(path.parent) == [path.name]


def test_close_removes_the_spare_file(path: Path) -> None:
    file = DoubleBufferedFile(str(path))
    inodes(file, path, 2)
    file.close()
    assert os.listdir(path.parent) == [path.name]


def test_spare_that_the_disk_refuses_to_remove_goes_with_the_next_replacement(
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

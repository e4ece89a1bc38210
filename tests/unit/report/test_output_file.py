"""Output to a path: regular files are replaced, everything else is written to."""

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from supervisor.report.export.output_file import write_output
from workers.records.typed_errors import BadFileError

pytestmark = pytest.mark.fault("F32")


def test_regular_file_is_replaced_and_missing_file_is_created(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_output(str(path), b"one")
    before = path.stat().st_ino
    write_output(str(path), b"two")
    assert path.read_bytes() == b"two"
    assert path.stat().st_ino != before, "a reader sees the old or the new content"


@pytest.mark.parametrize("is_there", [True, False])
def test_target_of_link_is_replaced(tmp_path: Path, is_there: bool) -> None:
    (tmp_path / "d").mkdir()
    if is_there:
        (tmp_path / "d/target").write_bytes(b"old")
    (tmp_path / "link").symlink_to("d/target")
    write_output(str(tmp_path / "link"), b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "d/target").read_bytes() == b"new"


@pytest.mark.parametrize("linked", [False, True])
def test_output_is_written_to_fifo(tmp_path: Path, linked: bool) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    path = tmp_path / "link" if linked else fifo
    if linked:
        path.symlink_to(fifo)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(fifo.read_bytes()))
    reader.start()
    data = b"x" * 300_000
    write_output(str(path), data)
    reader.join()
    assert got == [data]
    assert stat.S_ISFIFO(fifo.lstat().st_mode)


def test_output_is_written_to_device() -> None:
    write_output("/dev/null", b"x")
    assert stat.S_ISCHR(os.lstat("/dev/null").st_mode)
    with pytest.raises(OSError, match="No space left"):
        write_output("/dev/full", b"x")


def test_fifo_without_reader_fails_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError, match="No such device"):
        write_output(str(tmp_path / "fifo"), b"x", waits=False)


def test_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadFileError, match="is a directory"):
        write_output(str(tmp_path), b"x")


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
@pytest.mark.parametrize("to", ["file", "pipe"])
def test_output_is_written_to_own_descriptor(tmp_path: Path, name: str, to: str) -> None:
    code = f"from supervisor.report.export.output_file import *; write_output({name!r}, b'page')"
    kept = tmp_path / "kept"
    kept.write_text("before\n")
    if to == "pipe":
        done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True)
        assert done.stdout == b"page"
        return
    with kept.open("ab") as file:
        subprocess.run([sys.executable, "-c", code], stdout=file, check=True)
    assert kept.read_text() == "before\npage", "what was appended to is not replaced"

import os
import threading
from pathlib import Path

import pytest

from workers.records.atomic import create_file, is_abandoned, publish_dir, replace_file
from workers.records.files import make_dir, read_object
from workers.records.proc import proc_stat
from workers.records.typed_errors import BadFileError


def test_replaced_file_is_whole_and_private_and_its_cost_is_measured(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    old = os.umask(0)
    try:
        receipt = replace_file(str(path), b"{}\n")
    finally:
        os.umask(old)
    assert (path.read_bytes(), receipt.bytes) == (b"{}\n", 3)
    assert receipt.seconds > 0
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["a.json"]


@pytest.mark.parametrize("call", ["write", "fsync", "rename"])
def test_failed_write_leaves_only_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    path = tmp_path / "a.json"
    replace_file(str(path), b"old")

    def refuse(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, refuse)
    with pytest.raises(OSError, match="No space"):
        replace_file(str(path), b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.json"]


@pytest.mark.fault("F19")
def test_short_write_is_continued_until_everything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, bytes(data[:7])))
    replace_file(str(tmp_path / "a"), b"0123456789" * 10)
    assert (tmp_path / "a").read_bytes() == b"0123456789" * 10


def test_readers_see_the_old_or_the_new_record_never_a_mixture(tmp_path: Path) -> None:
    path = str(tmp_path / "a.json")
    replace_file(path, b'{"n": 0}')
    stop = threading.Event()
    seen: list[int] = []

    def read() -> None:
        while not stop.is_set():
            seen.append(read_object(path)["n"])

    reader = threading.Thread(target=read)
    reader.start()
    for n in range(1, 301):
        replace_file(path, (f'{{"n": {n}, "pad": "{"x" * (n * 50)}"}}').encode(), flush=False)
    stop.set()
    reader.join()
    assert seen == sorted(seen)
    assert seen


def test_directory_appears_whole_and_never_replaces_another(tmp_path: Path) -> None:
    built = tmp_path / "building"
    built.mkdir()
    create_file(str(built / "spec.json"), b"{}")
    target = tmp_path / "deep" / "cli" / "run"
    publish_dir(str(built), str(target))
    assert (target / "spec.json").read_bytes() == b"{}"
    assert (tmp_path / "deep").stat().st_mode & 0o777 == 0o700
    built.mkdir()
    with pytest.raises(FileExistsError):
        publish_dir(str(built), str(target))
    assert (target / "spec.json").exists()


def test_file_in_place_of_a_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    with pytest.raises(BadFileError, match="is not a directory"):
        make_dir(str(tmp_path / "x" / "y"))


def test_temporary_file_is_abandoned_when_its_writer_is_dead() -> None:
    mine = proc_stat(os.getpid())
    assert mine is not None
    assert is_abandoned(".a.json.999999999-1-1.tmp")
    assert not is_abandoned(f".a.json.{os.getpid()}-{mine.start_ticks}-1.tmp")
    assert is_abandoned(f".a.json.{os.getpid()}-{mine.start_ticks - 1}-1.tmp"), (
        "its pid is ours now"
    )
    assert not is_abandoned("a.json")


def test_zombie_counts_as_a_dead_writer() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    stat = proc_stat(child)
    assert stat is not None
    assert stat.state == "Z"
    assert is_abandoned(f".a.json.{child}-{stat.start_ticks}-1.tmp")
    os.waitpid(child, 0)

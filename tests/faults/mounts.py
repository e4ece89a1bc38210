"""Small and read-only file systems for tests; whatever was mounted is gone afterwards."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.root import wait_until

BALLAST_BYTES = 64 * 1024

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")


def _call(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"


@contextmanager
def tmpfs(path: Path, options: str) -> Iterator[None]:
    """A file system in memory, ``size=1m`` or ``nr_inodes=200`` large."""
    path.mkdir(parents=True, exist_ok=True)
    _call("mount", "-t", "tmpfs", "-o", f"mode=0700,{options}", "tmpfs", str(path))
    try:
        yield
    finally:
        _unmount(path)


@contextmanager
def bound(path: Path, at: Path) -> Iterator[None]:
    """The same directory at a second path."""
    at.mkdir(exist_ok=True)
    _call("mount", "--bind", str(path), str(at))
    try:
        yield
    finally:
        _unmount(at)


@contextmanager
def read_only(path: Path) -> Iterator[None]:
    """Whoever opens something below the path finds it read-only; open descriptors still write."""
    with bound(path, path):
        _call("mount", "-o", "remount,bind,ro", str(path))
        yield


def _unmount(path: Path) -> None:
    def gone() -> bool:
        done = subprocess.run(["umount", str(path)], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0 or "busy" in done.stderr, done.stderr
        return done.returncode == 0

    wait_until(gone, f"{path} is unmounted")


def fill(directory: Path, what: str) -> list[Path]:
    """Use up every byte, or every inode; removing the files that are returned gives them back."""
    files: list[Path] = []
    try:
        while True:
            path = directory / f"ballast{len(files)}"
            with path.open("wb", buffering=0) as file:
                files.append(path)
                if what == "bytes":
                    for size in (BALLAST_BYTES, 4096, 1):
                        while file.write(bytes(size)) == size:
                            pass
    except OSError:
        _use_up_bytes(files[-1], what)
        return files


def _use_up_bytes(path: Path, what: str) -> None:
    """Down to the last block."""
    if what != "bytes":
        return
    with path.open("ab", buffering=0) as file:
        for size in (4096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue

"""Fresh directories for benchmarks, on disk or RAM disk, and our own command lines."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benches.row import Missing

RAM = Path("/dev/shm")
SUPERVISOR = [str(Path(sys.executable).with_name("supervisor"))]
TRUE = [shutil.which("true") or "/bin/true"]


@contextmanager
def directory(base: Path | None = None) -> Iterator[Path]:
    """A fresh directory in ``base`` or ``TMPDIR``, removed afterwards."""
    path = Path(tempfile.mkdtemp(prefix="bench-", dir=base))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def has_ram_disk() -> bool:
    """True if there is a RAM disk."""
    return os.access(RAM, os.W_OK)


def ram_disk() -> Path:
    """The path of the RAM disk.

    Raises:
        Missing: there is none.
    """
    if not has_ram_disk():
        raise Missing("no RAM disk")
    return RAM


def write_batch(root: Path, count: int, *commands: Sequence[str] | str) -> None:
    """Write a batch of runs with one stage per command."""
    stages = ", ".join(
        f'{{ id = "s{i}", command = {_toml(command)} }}' for i, command in enumerate(commands)
    )
    (root / "config").mkdir(exist_ok=True)
    (root / "config/supervisor.toml").touch()
    (root / "batch.toml").write_text(
        f'[[runs]]\npipeline = "p"\ncount = {count}\n[pipelines.p]\nstages = [{stages}]\n'
    )


def _toml(command: Sequence[str] | str) -> str:
    if isinstance(command, str):
        return f'"{command}"'
    return "[" + ", ".join(f'"{word}"' for word in command) + "]"


def start(root: Path, *argv: str) -> list[str]:
    """The command line that runs the batch to its end."""
    return [*SUPERVISOR, "start", "--once", "--batch", "batch.toml", "--root", str(root), *argv]

"""Where benches happen: fresh directories on the disk and on a RAM disk, and our own commands."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

RAM = Path("/dev/shm")
SUPERVISOR = [str(Path(sys.executable).with_name("supervisor"))]


@contextmanager
def directory(base: Path | None = None) -> Iterator[Path]:
    """A fresh directory; gone afterwards."""
    path = Path(tempfile.mkdtemp(prefix="bench-", dir=base))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def has_ram_disk() -> bool:
    """Tell whether there is one."""
    return os.access(RAM, os.W_OK)


def write_batch(root: Path, count: int, *commands: str, settings: str = "") -> None:
    """A batch of runs that each run the commands, one stage each."""
    stages = ", ".join(f'{{ id = "s{i}", command = {c} }}' for i, c in enumerate(commands))
    (root / "config").mkdir(exist_ok=True)
    (root / "config/supervisor.toml").write_text(f"[supervisor]\n{settings}")
    (root / "batch.toml").write_text(
        f'[[runs]]\npipeline = "p"\ncount = {count}\n[pipelines.p]\nstages = [{stages}]\n'
    )


def start(root: Path, *words: str) -> list[str]:
    """The command line that supervises the batch to its end."""
    return [*SUPERVISOR, "start", "--once", "--batch", "batch.toml", "--root", str(root), *words]

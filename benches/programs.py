"""Small C programs for benchmarks, compiled once per process and removed with it."""

import atexit
import functools
import shutil
import subprocess
import tempfile
from pathlib import Path

from benches.row import Missing

SOURCES = Path(__file__).with_name("programs")


@functools.cache
def program(name: str) -> Path:
    """The path of a compiled program.

    Raises:
        Missing: there is no C compiler.
    """
    compiler = shutil.which("cc")
    if compiler is None:
        raise Missing("no C compiler")
    built = _place() / name
    subprocess.run([compiler, "-O2", "-o", str(built), str(SOURCES / f"{name}.c")], check=True)
    return built


@functools.cache
def _place() -> Path:
    place = tempfile.mkdtemp(prefix="bench-programs-")
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    return Path(place)


def stamps(path: Path) -> dict[str, float]:
    """The time at which each run's ``stamp`` ran, on the monotonic clock, by run id or position."""
    if not path.exists():
        return {}
    found: dict[str, float] = {}
    for line in path.read_text().splitlines():
        instant, _, run_id = line.partition(" ")
        if instant != "ready":
            found[run_id if run_id != "-" else str(len(found))] = float(instant)
    return found

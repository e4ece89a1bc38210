"""Measuring a command: CPU of everything that it started, wall time, and ratios taken in rounds.

CPU is that of the whole process tree: this process is a subreaper and waits for every orphan, so
nothing that a command leaves behind is missed. Rounds of subject and peer are interleaved, because
these machines drift; a figure is the median of its rounds, a ratio the median of ratios round by
round.
"""

import os
import resource
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from workers.libc import become_subreaper

TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one run of something took, in seconds."""

    cpu_s: float
    wall_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Rounds of subject and peer, in the unit of the row."""

    ours: tuple[float, ...]
    peer: tuple[float, ...]

    @property
    def ratios(self) -> list[float]:
        """Round by round."""
        return [a / b for a, b in zip(self.ours, self.peer, strict=True) if b > 0]

    @property
    def ratio(self) -> float:
        """Their median."""
        return statistics.median(self.ratios)


def run(
    words: Sequence[str], cwd: Path, *, env: Mapping[str, str] | None = None, ok: bool = True
) -> Cost:
    """Run a command and wait for it and for all that it leaves.

    Raises:
        RuntimeError: it failed, and ``ok`` says that it may not.
    """
    become_subreaper()
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(
        words,
        cwd=cwd,
        env={**_clean(), **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        timeout=TIMEOUT_S,
    )
    wall_s = time.monotonic() - began
    while True:
        try:
            os.wait()
        except ChildProcessError:
            break
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if ok and done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.returncode}: {done.stderr.decode()[-500:]}")
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(cpu_s=cpu_s, wall_s=wall_s)


def _clean() -> dict[str, str]:
    """Our environment without what would configure a supervisor, or keep it from its caches."""
    drop = ("SUPERVIS", "PYTHON")
    return {k: v for k, v in os.environ.items() if not k.startswith(drop)}


def rounds(count: int, ours: Callable[[], float], peer: Callable[[], float]) -> Figures:
    """Measure both in turn, after one round that does not count."""
    ours(), peer()
    pairs = [(ours(), peer()) for _ in range(count)]
    return Figures(ours=tuple(a for a, _ in pairs), peer=tuple(b for _, b in pairs))

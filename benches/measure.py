"""Measure a command: CPU of its process tree, wall time, and ratios in rounds.

Rounds of ours and the peer alternate, because machines drift. A figure is the median of its rounds,
a ratio the median of the ratios of single rounds.
"""

import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benches.tree import tree

TIMEOUT_S = 600.0
WAIT_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The cost of one measurement.

    Attributes:
        cpu_s: of the whole tree.
        began_mono_s, ended_mono_s: when it was started and when it had exited.
    """

    cpu_s: float
    began_mono_s: float
    ended_mono_s: float

    @property
    def wall_s(self) -> float:
        """Time from start to exit."""
        return self.ended_mono_s - self.began_mono_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Rounds of ours and the peer, in the unit of the row."""

    ours: tuple[float, ...]
    peer: tuple[float, ...]

    @property
    def ratios(self) -> list[float]:
        """The ratios of single rounds."""
        return [a / b for a, b in zip(self.ours, self.peer, strict=True) if b > 0]

    @property
    def ratio(self) -> float:
        """The median ratio."""
        return statistics.median(self.ratios)


def run(argv: Sequence[str], cwd: Path, *, env: Mapping[str, str] | None = None) -> Cost:
    """Run a command and wait for it and for all its descendants.

    Raises:
        RuntimeError: it failed, or it or a descendant did not end.
    """
    with tree() as mine:
        began = time.monotonic()
        process = mine.start(argv, cwd, env=env)
        try:
            code = process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"{' '.join(argv)}: no end after {TIMEOUT_S:g} s") from None
        ended = time.monotonic()
        mine.settle()
        if code:
            raise RuntimeError(f"{' '.join(argv)}: exit code {code}: {mine.complaints()}")
        return Cost(cpu_s=mine.cpu_s(), began_mono_s=began, ended_mono_s=ended)


def rounds(count: int, ours: Callable[[], float], peer: Callable[[], float]) -> Figures:
    """Measure both alternately, peer first, after one round that does not count."""
    peer(), ours()
    pairs = [(ours(), peer()) for _ in range(count)]
    return Figures(ours=tuple(a for a, _ in pairs), peer=tuple(b for _, b in pairs))


def until(
    is_true: Callable[[], bool], what: str, *, timeout_s: float = WAIT_S, pause_s: float = 0.005
) -> None:
    """Poll a condition.

    Raises:
        RuntimeError: it did not become true in time; ``what`` names it.
    """
    deadline = time.monotonic() + timeout_s
    while not is_true():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what}: not within {timeout_s:g} s")
        time.sleep(pause_s)

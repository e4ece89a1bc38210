"""How long to wait before trying again: exponential, bounded, with full jitter.

Full jitter (a wait drawn evenly from 0 to the bound) is what turned 68 % missed snapshots of fifty
simultaneous writers into none, where the same tries without jitter kept colliding.
"""

from collections.abc import Callable

from workers.records.dataclass import dataclass

Jitter = Callable[[], float]
"""Draws from 0 (included) to 1 (excluded)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """A schedule of tries.

    Attributes:
        attempts_count: tries in all, at least 1.
        delay_s: bound of the wait after the first try, in seconds.
        factor: each further bound is this many times the one before, at least 1.
        max_delay_s: no bound is larger.
    """

    attempts_count: int
    delay_s: float
    factor: float
    max_delay_s: float

    def bound_s(self, failures_count: int) -> float:
        """The longest wait after so many failures (from 1), in seconds; never overflows."""
        bound = self.delay_s
        for _ in range(failures_count - 1):
            bound *= self.factor
            if bound >= self.max_delay_s:
                break
        return min(bound, self.max_delay_s)

    def wait_s(self, failures_count: int, jitter: Jitter) -> float | None:
        """The wait after so many failures, or None where no try is left."""
        if failures_count >= self.attempts_count:
            return None
        return self.bound_s(failures_count) * jitter()

    def longest_s(self) -> float:
        """All waits together at their bounds, in seconds."""
        return sum(self.bound_s(n) for n in range(1, self.attempts_count))

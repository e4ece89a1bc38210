"""Is a worker alive? Judged from what we saw move on our own monotonic clock, never from stamps.

``late`` and ``unresponsive`` are words for the screen; only ``hung`` has a consequence, after three
looks, and never for a process that somebody stopped (state T) nor during our own stall.
"""

from enum import StrEnum
from typing import Final

from workers.records.dataclass import dataclass

HUNG_SCANS_COUNT: Final = 3  # docs/explanation/liveness.md: death needs more than one look
LATE_INTERVALS: Final = 2  # docs/explanation/liveness.md


class Liveness(StrEnum):
    """How a live run looks."""

    FRESH = "fresh"
    LATE = "late"
    UNRESPONSIVE = "unresponsive"
    HUNG = "hung"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ages:
    """The limits, in seconds since the heartbeat was last seen to move."""

    interval_s: float
    stale_after_s: float
    hung_after_s: float

    @property
    def late_after_s(self) -> float:
        """Who is younger is fresh."""
        return min(LATE_INTERVALS * self.interval_s, self.stale_after_s, self.hung_after_s)


def judge(*, age_s: float, stopped: bool, ages: Ages) -> Liveness:
    """Find the word for one look.

    Args:
        age_s: seconds since the heartbeat was seen to move.
        stopped: the process is in state T; it may stay so for as long as it likes.
        ages: the limits.
    """
    if age_s > ages.hung_after_s and not stopped:
        return Liveness.HUNG
    if age_s > ages.stale_after_s:
        return Liveness.UNRESPONSIVE
    if age_s > LATE_INTERVALS * ages.interval_s:
        return Liveness.LATE
    return Liveness.FRESH

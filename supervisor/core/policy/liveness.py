"""Is a worker alive? Judged by when its heartbeat moved on our monotonic clock, not by time stamps.

``late`` and ``unresponsive`` are only shown. ``hung`` has a consequence, after three scans, but not
for a stopped process (state T) and not while the supervisor itself was stalled.
"""

from enum import StrEnum
from typing import Final

from workers.records.dataclass import dataclass

HUNG_SCANS_COUNT: Final = 3  # docs/explanation/liveness.md: death needs more than one scan
LATE_INTERVALS: Final = 2  # docs/explanation/liveness.md


class Liveness(StrEnum):
    """How alive the worker of a live run is."""

    FRESH = "fresh"
    LATE = "late"
    UNRESPONSIVE = "unresponsive"
    HUNG = "hung"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ages:
    """Limits of a heartbeat's age, in seconds since it was last seen to move."""

    interval_s: float
    stale_after_s: float
    hung_after_s: float

    @property
    def late_after_s(self) -> float:
        """A younger heartbeat is fresh."""
        return min(LATE_INTERVALS * self.interval_s, self.stale_after_s, self.hung_after_s)


def judge(*, age_s: float, stopped: bool, ages: Ages) -> Liveness:
    """Judge one scan.

    Args:
        age_s: seconds since the heartbeat was seen to move.
        stopped: the process is in state T, so it is never judged hung.
        ages: the limits.
    """
    if age_s > ages.hung_after_s and not stopped:
        return Liveness.HUNG
    if age_s > ages.stale_after_s:
        return Liveness.UNRESPONSIVE
    if age_s > LATE_INTERVALS * ages.interval_s:
        return Liveness.LATE
    return Liveness.FRESH

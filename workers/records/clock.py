"""Time: instants as RFC 3339 UTC text for records, seconds on the monotonic clock for waits.

Does not use ``datetime``, which is slow to import. Years outside 1970 to 9999 are clamped: a broken
clock can spoil a date but never a run.
"""

import re
import time
from typing import Final, Protocol

_DAYS_TO_1970: Final = 2_472_633  # in the day count of ``epoch_of``
_SHAPE: Final = re.compile(
    r"(\d{4})-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):([0-5]\d):([0-5]\d)\.(\d{3})Z"
)
_LAST_S: Final = 253_402_300_799.0  # 9999-12-31T23:59:59Z, the last instant four digits can name


class Clock(Protocol):
    """A source of time; tests pass a fake."""

    def epoch_s(self) -> float:
        """Seconds since 1970, UTC; may jump. For records, never for waits."""

    def mono_s(self) -> float:
        """Seconds on the monotonic clock. For waits and durations."""


class SystemClock:
    """The machine's clocks."""

    def epoch_s(self) -> float:
        """Seconds since 1970, UTC."""
        return time.time()

    def mono_s(self) -> float:
        """Seconds on CLOCK_MONOTONIC, which does not count suspended time."""
        return time.monotonic()


def utc_text(epoch_s: float) -> str:
    """Format an instant: ``2025-10-31T22:56:35.120Z``, always 24 characters."""
    clamped = min(max(epoch_s, 0.0), _LAST_S)
    millis = int(clamped * 1000)
    tm = time.gmtime(millis // 1000)
    return (
        f"{tm.tm_year:04d}-{tm.tm_mon:02d}-{tm.tm_mday:02d}"
        f"T{tm.tm_hour:02d}:{tm.tm_min:02d}:{tm.tm_sec:02d}.{millis % 1000:03d}Z"
    )


def epoch_of(text: str) -> float:
    """Parse the output of ``utc_text`` to seconds since 1970; raises ValueError."""
    match = _SHAPE.fullmatch(text)
    if match is None:
        raise ValueError(f"not an instant of the form 2025-10-31T22:56:35.120Z: {text!r}")
    year, month, day, hour, minute, second, millis = (int(part) for part in match.groups())
    # Julian day number (Fliegel and Van Flandern), with years that begin in March.
    early = (14 - month) // 12
    year, month = year + 4800 - early, month + 12 * early - 3
    days = day + (153 * month + 2) // 5 + 365 * year + year // 4 - year // 100 + year // 400
    seconds = ((days - _DAYS_TO_1970) * 24 + hour) * 3600 + minute * 60 + second
    return seconds + millis / 1000

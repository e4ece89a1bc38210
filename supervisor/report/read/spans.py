"""Places in time: seconds since a run was accepted, on the clock that may be trusted.

The facts of one boot lie on one monotonic clock, whoever wrote them, so a jump of the wall clock
moves nothing. Where the monotonic clock went back (the machine was started anew in between), the
wall clock bridges the gap.
"""

from collections.abc import Iterable, Mapping

from workers.records.clock import epoch_of
from workers.records.dataclass import dataclass
from workers.records.journal import Fact


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time, in seconds since the first run of a tree was accepted."""

    begin_s: float
    end_s: float

    @property
    def length_s(self) -> float:
        """How long it is, in seconds."""
        return round(max(0.0, self.end_s - self.begin_s), 3)  # as exact as the journal's instants


@dataclass(frozen=True, slots=True)
class Instant:
    """One instant: RFC 3339 text, and seconds on the monotonic clock (None: not comparable)."""

    at: str
    mono_s: float | None


def place_after(place_s: float, earlier: Instant, later: Instant) -> float:
    """Where the later of two moments lies, if the earlier one lies at ``place_s``; never before."""
    if earlier.mono_s is not None and later.mono_s is not None and later.mono_s >= earlier.mono_s:
        return place_s + later.mono_s - earlier.mono_s
    try:
        return place_s + max(0.0, epoch_of(later.at) - epoch_of(earlier.at))
    except ValueError:  # damaged: it happened, and that is all that is known
        return place_s


def instant_of(fact: Fact) -> Instant:
    """When a fact was written."""
    return Instant(fact.at, fact.mono_s)


def place_facts(
    facts: Iterable[Fact], place_s: float, begin: Instant | None
) -> Mapping[int, float]:
    """Where each fact of a journal lies, by its number.

    Args:
        facts: the journal, in order.
        place_s: where ``begin`` lies; where there is none, where the first fact lies.
        begin: a moment before the first fact.
    """
    found: dict[int, float] = {}
    for fact in facts:
        moment = instant_of(fact)
        place_s = place_s if begin is None else place_after(place_s, begin, moment)
        found[fact.seq] = place_s
        begin = moment
    return found


def covered_s(spans: Iterable[Span]) -> float:
    """How much time the spans cover together, in seconds; what overlaps counts once."""
    total, reached = 0.0, float("-inf")
    for span in sorted(spans, key=lambda item: item.begin_s):
        total += max(0.0, span.end_s - max(span.begin_s, reached))
        reached = max(reached, span.end_s)
    return total

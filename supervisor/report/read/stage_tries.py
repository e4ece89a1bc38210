"""When the stages of a run ran: their tries as spans of time.

Times are seconds since the root of a tree of runs was accepted. Facts of one boot have one
monotonic clock, whoever wrote them, so a step of the wall clock moves nothing. If the monotonic
clock goes back, the machine was rebooted in between, and the wall clock bridges the gap.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from workers.records.clock import epoch_of
from workers.records.dataclass import dataclass
from workers.records.journal import Event, Fact


@dataclass(frozen=True, slots=True)
class Span:
    """A span of time, in seconds since the root of the tree was accepted."""

    begin_s: float
    end_s: float

    @property
    def length_s(self) -> float:
        """Its length in seconds, rounded to the milliseconds of the journal."""
        return round(max(0.0, self.end_s - self.begin_s), 3)


@dataclass(frozen=True, slots=True)
class Instant:
    """An instant: RFC 3339 text, and seconds on the monotonic clock (None: not comparable)."""

    at: str
    mono_s: float | None


def instant_of(fact: Fact) -> Instant:
    """When a fact was written."""
    return Instant(fact.at, fact.mono_s)


def place_after(place_s: float, earlier: Instant, later: Instant) -> float:
    """The place of the later of two instants if the earlier one is at ``place_s``; never before."""
    if earlier.mono_s is not None and later.mono_s is not None and later.mono_s >= earlier.mono_s:
        return place_s + later.mono_s - earlier.mono_s
    try:
        return place_s + max(0.0, epoch_of(later.at) - epoch_of(earlier.at))
    except ValueError:  # damaged
        return place_s


def place_facts(
    facts: Iterable[Fact], place_s: float, begin: Instant | None
) -> Mapping[int, float]:
    """The place of each fact of a journal in time, by its ``seq``.

    Args:
        facts: the journal, in order.
        place_s: the place of ``begin``, or of the first fact if there is no ``begin``.
        begin: an instant before the first fact.
    """
    places: dict[int, float] = {}
    for fact in facts:
        instant = instant_of(fact)
        place_s = place_s if begin is None else place_after(place_s, begin, instant)
        places[fact.seq] = place_s
        begin = instant
    return places


def covered_s(spans: Iterable[Span]) -> float:
    """The seconds that spans cover together; overlaps count once."""
    total, reached = 0.0, float("-inf")
    for span in sorted(spans, key=lambda item: item.begin_s):
        total += max(0.0, span.end_s - max(span.begin_s, reached))
        reached = max(reached, span.end_s)
    return total


@dataclass(frozen=True, slots=True, kw_only=True)
class StageTry:
    """One try of a stage.

    Attributes:
        number: from 1.
        span: when; up to now if it is running.
        status: "running", "succeeded", "failed", "skipped".
        exit_code: None if it has none.
        signal: the signal that ended it.
        wait: the wait before the next try, if there was one.
        mark_key: the key of the log line that replaces dropped bytes; None in old records.
    """

    number: int
    span: Span
    status: str
    exit_code: int | None = None
    signal: str | None = None
    wait: Span | None = None
    mark_key: str | None = None


def stage_tries(
    facts: list[Fact], at: Mapping[int, float], end_s: float, status: str
) -> tuple[StageTry, ...]:
    """The tries of a stage.

    Args:
        facts: its facts.
        at: the place of each fact.
        end_s: the end of the run, or now.
        status: the status of a try that has no end.
    """
    tries: list[StageTry] = []
    begin_s: float | None = None
    key: str | None = None
    for fact in facts:
        place_s = at[fact.seq]
        if fact.event == Event.STAGE_STARTED:
            begin_s, key = place_s, fact.data.get("mark_key")
        elif fact.event not in (Event.STAGE_ENDED, Event.STAGE_RETRIED):
            continue
        elif begin_s is not None:
            tries.append(
                StageTry(
                    number=len(tries) + 1,
                    span=Span(begin_s, place_s),
                    status=str(fact.data.get("status")),
                    exit_code=fact.data.get("exit_code"),
                    signal=fact.data.get("signal"),
                    wait=Span(place_s, end_s) if fact.event == Event.STAGE_RETRIED else None,
                    mark_key=key,
                )
            )
            begin_s = None
            continue
        if tries and tries[-1].wait is not None:  # the next try, or the end of the stage
            tries[-1] = replace(tries[-1], wait=Span(tries[-1].span.end_s, place_s))
    if begin_s is not None:
        span = Span(begin_s, end_s)
        tries.append(StageTry(number=len(tries) + 1, span=span, status=status, mark_key=key))
    return tuple(tries)


def slot_wait(facts: list[Fact], at: Mapping[int, float], end_s: float) -> Span | None:
    """When a stage waited for slots; None if it did not. Arguments as ``stage_tries``."""
    begin_s = next((at[f.seq] for f in facts if f.event == Event.STAGE_WAITING), None)
    if begin_s is None:
        return None
    started_s = next((at[f.seq] for f in facts if f.event == Event.STAGE_STARTED), end_s)
    return Span(begin_s, max(begin_s, started_s))

"""The tries of a stage, as the facts of a journal tell them, each in its place in time."""

from collections.abc import Mapping
from dataclasses import replace

from supervisor.report.read.spans import Span
from workers.records.dataclass import dataclass
from workers.records.journal import Event, Fact


@dataclass(frozen=True, slots=True, kw_only=True)
class StageTry:
    """One try of a stage.

    Attributes:
        number: from 1.
        span: when; up to now where it is under way.
        status: "running", "succeeded", "failed", "skipped".
        exit_code: None where it has none.
        signal: the signal that ended it.
        wait: the pause before the next try, if there was one.
        mark_key: in the line of its logs that stands for dropped bytes; None in old records.
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
    """The tries that a stage's facts tell; what has no end has this status, until ``end_s``."""
    found: list[StageTry] = []
    begun: float | None = None
    key: str | None = None
    for fact in facts:
        place_s = at[fact.seq]
        if fact.event == Event.STAGE_STARTED:
            begun, key = place_s, fact.data.get("mark_key")
        elif fact.event not in (Event.STAGE_ENDED, Event.STAGE_RETRIED):
            continue
        elif begun is not None:
            found.append(_try(len(found) + 1, Span(begun, place_s), fact, end_s, key))
            begun = None
            continue
        if found and found[-1].wait is not None:  # the next try, or no more of them
            found[-1] = replace(found[-1], wait=Span(found[-1].span.end_s, place_s))
    if begun is not None:
        number = len(found) + 1
        found.append(StageTry(number=number, span=Span(begun, end_s), status=status, mark_key=key))
    return tuple(found)


def slot_wait(facts: list[Fact], at: Mapping[int, float], end_s: float) -> Span | None:
    """From the first word that a stage waits for slots to its begin, or until ``end_s``."""
    waiting = next((at[f.seq] for f in facts if f.event == Event.STAGE_WAITING), None)
    if waiting is None:
        return None
    begun = next((at[f.seq] for f in facts if f.event == Event.STAGE_STARTED), end_s)
    return Span(waiting, max(waiting, begun))


def _try(number: int, span: Span, fact: Fact, end_s: float, mark_key: str | None) -> StageTry:
    retried = fact.event == Event.STAGE_RETRIED
    return StageTry(
        number=number,
        span=span,
        status=str(fact.data.get("status")),
        exit_code=fact.data.get("exit_code"),
        signal=fact.data.get("signal"),
        wait=Span(span.end_s, end_s) if retried else None,
        mark_key=mark_key,
    )

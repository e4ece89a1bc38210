"""The facts of a journal, sorted by what they are about, as the parts of a manifest need them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from workers.records.journal import Event, Fact
from workers.records.spec import RunSpec


@dataclass(slots=True)
class JournalIndex:
    """A run's facts, sorted by what they are about.

    Attributes:
        begun, ended: of each stage; a further try takes the end of the one before.
        kept: for each stage that was not made, the run that made it.
        children: for each stage, the newest fact of its sub-pipeline's run.
    """

    accepted_at: str
    started: Fact | None
    verdict: Fact | None
    begun: dict[str, Fact]
    ended: dict[str, Fact]
    kept: dict[str, str]
    children: dict[str, Fact]
    warnings: list[Mapping[str, Any]]


def index_journal(spec: RunSpec, facts: Iterable[Fact]) -> JournalIndex:
    """Sort the facts of a run; what follows its verdict does not count."""
    fold = JournalIndex(spec.asked_at, None, None, {}, {}, {}, {}, [])
    for fact in facts:
        stage = str(fact.data.get("stage"))
        match fact.event:
            case Event.RUN_ACCEPTED:
                fold.accepted_at = fact.at
            case Event.RUN_STARTED:
                fold.started = fact
            case Event.STAGE_STARTED:
                fold.begun.setdefault(stage, fact)
                fold.ended.pop(stage, None)
            case Event.STAGE_ENDED:
                fold.ended[stage] = fact
            case Event.STAGE_KEPT:
                fold.kept[stage] = str(fact.data.get("kept_from"))
            case Event.CHILD_STARTED:
                fold.begun.setdefault(stage, fact)
                fold.children[stage] = fact
            case Event.CHILD_ENDED:
                fold.children[stage] = fact
            case Event.WARNING:
                fold.warnings.append(dict(fact.data))
            case Event.VERDICT:
                fold.verdict = fact
                break  # what follows a verdict does not count
            case _:
                continue
    return fold

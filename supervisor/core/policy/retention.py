"""Retention: which finished runs of a task go, by count, age and bytes. Pure.

The unit is a *family*: a run that nobody's stage asked for, with every run below it. It stays or
goes as a whole, so that no record ever names a child that was removed alone. Each limit speaks for
itself: what one of them is exceeded by goes, the oldest first. A family is kept all the same while
one of its runs is not finished, or is named by a run that is kept (as the one that it retries).
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from workers.records.dataclass import dataclass

DAY_S: Final = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionLimits:
    """How much of a task is kept; None sets no limit.

    Attributes:
        keep_runs: so many of the newest finished families.
        keep_days: families that ended at most so many days ago.
        keep_bytes: so many bytes on disk, those that may not go included.
    """

    keep_runs: int | None = None
    keep_days: float | None = None
    keep_bytes: int | None = None

    def any(self) -> bool:
        """Tell whether there is a limit at all."""
        return any(limit is not None for limit in (self.keep_runs, self.keep_days, self.keep_bytes))


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One run's directory.

    Attributes:
        parent_run_id: the run whose stage asked for it.
        ended_epoch_s: when its verdict was written, in seconds since 1970; None while it has none.
        held: why it may not go whatever the limits say, None where nothing speaks against it.
        size_bytes: on disk.
        names: every other run that its record refers to.
    """

    run_id: str
    parent_run_id: str | None
    ended_epoch_s: float | None
    held: str | None
    size_bytes: int
    names: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """One run that goes, and the limit that says so."""

    run: Candidate
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionPlan:
    """What becomes of a task's directories.

    Attributes:
        removals: in the order in which they are to be removed: children before their parents, the
            oldest family first.
        kept: runs that a limit speaks against and that stay: why, by run id.
    """

    removals: tuple[Removal, ...]
    kept: dict[str, str]


def decide(
    runs: Iterable[Candidate], limits: RetentionLimits, *, now_epoch_s: float
) -> RetentionPlan:
    """Choose what goes.

    Args:
        runs: every run directory of one task.
        limits: how much is kept.
        now_epoch_s: this instant.
    """
    known = {run.run_id: run for run in runs}
    families = _families(known)
    order = sorted(families, key=lambda top: (_ended(families[top]), top), reverse=True)
    doomed = _exceeding([families[top] for top in order], limits, now_epoch_s)
    going = {top: why for top, why in zip(order, doomed, strict=True) if why is not None}
    kept: dict[str, str] = {}
    for top in list(going):
        held = next((run.held for run in families[top] if run.held is not None), None)
        if held is not None:
            kept.update((run.run_id, held) for run in families[top])
            del going[top]
    while named := _named(known, families, going):
        for top, by in named.items():
            kept.update((run.run_id, f"run {by} names it") for run in families[top])
            del going[top]
    chosen = [
        Removal(run=run, reason=going[top])
        for top in reversed(order)
        if top in going
        for run in families[top]
    ]
    return RetentionPlan(removals=tuple(chosen), kept=kept)


def _families(known: dict[str, Candidate]) -> dict[str, list[Candidate]]:
    """Each family by its topmost run that is there, the deepest run first."""
    found: dict[str, list[tuple[int, Candidate]]] = defaultdict(list)
    for run in known.values():
        top, depth, seen = run, 0, {run.run_id}
        while (parent := top.parent_run_id) in known and parent not in seen:
            top, depth = known[str(parent)], depth + 1
            seen.add(top.run_id)
        found[top.run_id].append((depth, run))
    return {
        top: [run for _, run in sorted(pairs, key=lambda pair: (-pair[0], pair[1].run_id))]
        for top, pairs in found.items()
    }


def _ended(family: list[Candidate]) -> float:
    """When its last run ended; never, while one has not."""
    ends = [run.ended_epoch_s for run in family]
    return max((end for end in ends if end is not None), default=0.0) if None not in ends else 1e18


def _exceeding(
    families: list[list[Candidate]], limits: RetentionLimits, now_epoch_s: float
) -> list[str | None]:
    """For each family, the newest first, the limit that it exceeds, or None."""
    found: list[str | None] = []
    size_bytes = 0
    finished_count = 0
    for family in families:
        count = finished_count + 1  # an unfinished family takes no place of a finished one
        if all(run.ended_epoch_s is not None for run in family):
            finished_count = count
        size_bytes += sum(run.size_bytes for run in family)
        age_s = now_epoch_s - _ended(family)
        why = None
        if limits.keep_runs is not None and count > limits.keep_runs:
            why = f"beyond the newest {limits.keep_runs}"
        elif limits.keep_days is not None and age_s > limits.keep_days * DAY_S:
            why = f"older than {limits.keep_days:g} days"
        elif limits.keep_bytes is not None and size_bytes > limits.keep_bytes:
            why = f"beyond {limits.keep_bytes} bytes"
        found.append(why)
    return found


def _named(
    known: dict[str, Candidate], families: dict[str, list[Candidate]], going: dict[str, str]
) -> dict[str, str]:
    """The families that would go although a run that stays names one of theirs, and which does."""
    leaving = {run.run_id: top for top in going for run in families[top]}
    found: dict[str, str] = {}
    for run in known.values():
        if run.run_id not in leaving:
            names = run.names | {run.parent_run_id}  # the latter only in a circle of damage
            found.update((leaving[n], run.run_id) for n in names if n is not None and n in leaving)
    return found

"""Retention: which finished runs of a task are removed, by count, age and bytes. Pure.

The unit is a *family*: a run without a parent, and every run below it. It is kept or removed as a
whole, so no record names a child that was removed alone. A family that exceeds any limit is
removed, the oldest first. It is kept all the same while one of its runs is not finished, or if a
run that is kept names one of them (for example as the run that it retries).
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
        keep_runs: number of the newest finished families.
        keep_days: days since a family ended.
        keep_bytes: bytes on disk, those that cannot be removed included.
    """

    keep_runs: int | None = None
    keep_days: float | None = None
    keep_bytes: int | None = None

    def any(self) -> bool:
        """Whether there is any limit."""
        return any(limit is not None for limit in (self.keep_runs, self.keep_days, self.keep_bytes))


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One run's directory.

    Attributes:
        parent_run_id: the run whose stage requested it.
        ended_epoch_s: when its verdict was written, in seconds since 1970; None without one.
        blocked: why it cannot be removed whatever the limits say, None if it can.
        size_bytes: on disk.
        names: every other run that its record refers to.
    """

    run_id: str
    parent_run_id: str | None
    ended_epoch_s: float | None
    blocked: str | None
    size_bytes: int
    names: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """One run to remove, and the limit that it exceeds."""

    run: Candidate
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionPlan:
    """Which of a task's directories to remove.

    Attributes:
        removals: in order: the oldest family first, children before their parents.
        kept: by run id, why a run that exceeds a limit is kept.
    """

    removals: tuple[Removal, ...]
    kept: dict[str, str]


def decide(
    runs: Iterable[Candidate], limits: RetentionLimits, *, now_epoch_s: float
) -> RetentionPlan:
    """Choose what to remove.

    Args:
        runs: every run directory of one task.
        limits: how much to keep.
        now_epoch_s: this instant.
    """
    known = {run.run_id: run for run in runs}
    families = _families(known)
    order = sorted(families, key=lambda top: (_ended(families[top]), top), reverse=True)
    exceeded = _exceeding([families[top] for top in order], limits, now_epoch_s)
    leaving = {
        top: reason for top, reason in zip(order, exceeded, strict=True) if reason is not None
    }
    kept: dict[str, str] = {}
    for top in list(leaving):
        blocked = next((run.blocked for run in families[top] if run.blocked is not None), None)
        if blocked is not None:
            kept.update((run.run_id, blocked) for run in families[top])
            del leaving[top]
    while named := _named(known, families, leaving):
        for top, by in named.items():
            kept.update((run.run_id, f"run {by} names it") for run in families[top])
            del leaving[top]
    chosen = [
        Removal(run=run, reason=leaving[top])
        for top in reversed(order)
        if top in leaving
        for run in families[top]
    ]
    return RetentionPlan(removals=tuple(chosen), kept=kept)


def _families(known: dict[str, Candidate]) -> dict[str, list[Candidate]]:
    """Each family by its topmost known run, the deepest run first."""
    families: dict[str, list[tuple[int, Candidate]]] = defaultdict(list)
    for run in known.values():
        top, depth, seen = run, 0, {run.run_id}
        while (parent := top.parent_run_id) in known and parent not in seen:
            top, depth = known[str(parent)], depth + 1
            seen.add(top.run_id)
        families[top.run_id].append((depth, run))
    return {
        top: [run for _, run in sorted(pairs, key=lambda pair: (-pair[0], pair[1].run_id))]
        for top, pairs in families.items()
    }


def _ended(family: list[Candidate]) -> float:
    """When its last run ended; the far future while one has not."""
    ends = [run.ended_epoch_s for run in family]
    return max((end for end in ends if end is not None), default=0.0) if None not in ends else 1e18


def _exceeding(
    families: list[list[Candidate]], limits: RetentionLimits, now_epoch_s: float
) -> list[str | None]:
    """For each family, the newest first, the limit that it exceeds, or None."""
    exceeded: list[str | None] = []
    size_bytes = 0
    finished_count = 0
    for family in families:
        count = finished_count + 1  # an unfinished family takes no place of a finished one
        if all(run.ended_epoch_s is not None for run in family):
            finished_count = count
        size_bytes += sum(run.size_bytes for run in family)
        age_s = now_epoch_s - _ended(family)
        reason = None
        if limits.keep_runs is not None and count > limits.keep_runs:
            reason = f"beyond the newest {limits.keep_runs}"
        elif limits.keep_days is not None and age_s > limits.keep_days * DAY_S:
            reason = f"older than {limits.keep_days:g} days"
        elif limits.keep_bytes is not None and size_bytes > limits.keep_bytes:
            reason = f"beyond {limits.keep_bytes} bytes"
        exceeded.append(reason)
    return exceeded


def _named(
    known: dict[str, Candidate], families: dict[str, list[Candidate]], leaving: dict[str, str]
) -> dict[str, str]:
    """The leaving families of which a kept run names a member, and that kept run."""
    family_of = {run.run_id: top for top in leaving for run in families[top]}
    named: dict[str, str] = {}
    for run in known.values():
        if run.run_id not in family_of:
            names = run.names | {run.parent_run_id}  # the latter only in a damaged, circular family
            named.update((family_of[n], run.run_id) for n in names if n in family_of)
    return named

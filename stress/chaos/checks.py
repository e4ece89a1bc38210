"""Invariants after chaos, when one start has settled all runs."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from stress.chaos.pipelines import BATCH, BATCH_COUNTS, KINDS, TASK
from stress.evidence import Evidence, gather
from stress.invariants import Invariant, history_problems, state_problems, sums_problems
from stress.outside import lease_is_free, tracebacks_in
from supervisor.report.verify.verify_root import verify
from workers.records.layout import Layout
from workers.records.spec import load_spec

_EXITS: Final = {
    "submit": {0, 73},
    "run": {0, 10, 11, 12, 73, 75, 1},
    "cancel": {0, 4, 73, 75, 1},
    "status": {0, 3},
    "stop": {0, 73, 75},
    "start": {0, 10, 11, 12, 73, 75, 130, 143},
}
_SETTLED: Final = {0, 10, 11, 12}


@dataclass(frozen=True, slots=True, kw_only=True)
class Observations:
    """Facts known without records.

    Attributes:
        layout: the root, at rest.
        marks: the file in which stages write their marks.
        acknowledged: the runs whose ids were printed.
        exits: the exit codes of each verb.
        said: files with the stderr of commands.
        alive: living processes of the root, described.
        reading: problems that the reader found.
        calm: problems of the calm phase.
        settled: the exit code of the start that settled all runs; None if it did not end.
    """

    layout: Layout
    marks: str
    acknowledged: frozenset[str] = frozenset()
    exits: Mapping[str, frozenset[int]] = field(default_factory=dict)
    said: tuple[str, ...] = ()
    alive: tuple[str, ...] = ()
    reading: tuple[str, ...] = ()
    calm: tuple[str, ...] = ()
    settled: int | None = 0


def check(seen: Observations) -> tuple[Evidence, tuple[Invariant, ...]]:
    """Read a root at rest and check every invariant."""
    layout = seen.layout
    evidence = gather(layout, TASK)
    settled = () if seen.settled in _SETTLED else (f"it ended with {seen.settled}",)
    checks: dict[str, Iterable[str]] = {
        "one start settles everything": settled,
        "nothing of the root is alive": seen.alive,
        "every run has one verdict, in journal, manifest and history": _runs(seen, evidence),
        "a batch was created whole, however often it was started": _batches(layout, evidence),
        "the history has one line per run": history_problems(evidence),
        "the state is the end of the history": state_problems(evidence),
        "the metrics are the sums of the history": sums_problems(
            evidence, evidence.metrics.get("totals")
        ),
        "supervisor verify finds nothing": (
            f"{layout.relative(v.path)}: {v.problem}" for v in verify(layout)
        ),
        "a final status never changed, and every record always parsed": seen.reading,
        "each stage ran at most once per try, and succeeded stages ran": _marks(seen, evidence),
        "a long-running supervisor uses no more resources than before": seen.calm,
        "commands exit with documented codes": _exits(seen),
        "no traceback was printed": tracebacks_in([*seen.said, *_stderr_files(layout)]),
        "there are no leftovers": _left_over(layout, evidence),
    }
    return evidence, tuple(Invariant(name, tuple(found)) for name, found in checks.items())


def _stderr_files(layout: Layout) -> list[str]:
    return [os.path.join(layout.control, name) for name in ("workers.log", "helper.log")]


def _runs(seen: Observations, evidence: Evidence) -> Iterator[str]:
    lines = Counter(str(line.get("runId")) for line in evidence.history)
    for run_id in sorted(seen.acknowledged | set(evidence.runs)):
        run = evidence.runs.get(run_id)
        if run is None:
            yield f"{run_id}: was acknowledged but does not exist"
            continue
        if len(run.verdicts) != 1:
            yield f"{run_id}: {len(run.verdicts)} verdicts"
        manifest, verdict = run.manifest or {}, next(iter(run.verdicts), {})
        reported = (manifest.get("status"), manifest.get("status_detail"))
        if reported != (verdict.get("status"), verdict.get("detail")):
            yield f"{run_id}: its manifest says {reported}, its verdict {verdict.get('status')}"
        if lines[run_id] != 1:
            yield f"{run_id}: {lines[run_id]} lines in the history"


def _batches(layout: Layout, evidence: Evidence) -> Iterator[str]:
    """A batch is one request, so the runs of each pipeline are the same multiple of its count."""
    found: Counter[str] = Counter()
    for run_id in evidence.runs:
        spec = load_spec(layout.run_dir(TASK, run_id).spec)
        if spec.batch == BATCH:
            found[spec.pipeline.id] += 1
    times = {name: found[name] / count for name, count in BATCH_COUNTS.items()}
    if len(set(times.values())) != 1 or not all(n.is_integer() for n in times.values()):
        yield ", ".join(f"{found[name]} {name} (of {n} each)" for name, n in BATCH_COUNTS.items())


def _marks(seen: Observations, evidence: Evidence) -> Iterator[str]:
    """Compare the marks that stages write outside the root with their records."""
    try:
        with open(seen.marks, encoding="ascii") as file:
            marks = Counter(file.read().splitlines())
    except FileNotFoundError:
        marks = Counter()
    for mark, count in marks.items():
        if count > 1:
            yield f"{mark}: {count} times"
    ended = {tuple(mark.split()[1:3]) for mark in marks if mark.startswith("end ")}
    kinds = {kind.name: kind for kind in KINDS}
    for run_id, run in evidence.runs.items():
        kind = kinds.get(str((run.manifest or {}).get("pipeline_id")))
        if kind is None or (run.manifest or {}).get("status") != "succeeded":
            continue
        if not kind.can_succeed:
            yield f"{run_id}: a {kind.name} run is recorded as succeeded"
        for stage in kind.commands:
            if (run_id, stage) not in ended:
                yield f"{run_id}: succeeded, but its stage {stage} wrote no end mark"


def _exits(seen: Observations) -> Iterator[str]:
    for verb, codes in sorted(seen.exits.items()):
        for code in sorted(codes - _EXITS.get(verb, {0})):
            yield f"{verb}: {code}"


def _left_over(layout: Layout, evidence: Evidence) -> Iterator[str]:
    yield from evidence.temporary
    rejected = f"{layout.relative(layout.rejected)}/"
    yield from (path for path in evidence.unfinished if not path.startswith(rejected))
    if not lease_is_free(layout):
        yield "the lease is held"

"""What must hold when chaos is over and one start has settled everything."""

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
class Seen:
    """What is known without any record.

    Attributes:
        layout: the root, at rest.
        marks: the file of the stages' own words.
        acknowledged: the runs whose ids were printed.
        exits: the exit codes of each verb.
        said: files with what commands wrote to stderr.
        alive: processes of the root, in words.
        reading: what a reader should not have seen meanwhile.
        calm: what is wrong with a supervisor that lived on.
        settled: the exit code of the start that settled everything, None where it did not end.
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


def check(seen: Seen) -> tuple[Evidence, tuple[Invariant, ...]]:
    """Read a root at rest and check every invariant."""
    layout = seen.layout
    evidence = gather(layout, TASK)
    settled = () if seen.settled in _SETTLED else (f"it ended with {seen.settled}",)
    checks: dict[str, Iterable[str]] = {
        "one start settles everything": settled,
        "nothing of the root is alive": seen.alive,
        "every run has one verdict, in journal, manifest and history": _runs(seen, evidence),
        "a batch was made whole, however often it was begun": _batches(layout, evidence),
        "the history has one line per run": history_problems(evidence),
        "the state is the history's end": state_problems(evidence),
        "the metrics are the history's sums": sums_problems(
            evidence, evidence.metrics.get("totals")
        ),
        "supervisor verify finds nothing": (
            f"{layout.relative(v.path)}: {v.problem}" for v in verify(layout)
        ),
        "a status once seen never changed, and every record always parsed": seen.reading,
        "each stage ran at most once per try, and what succeeded has run": _marks(seen, evidence),
        "a supervisor that lived on holds no more than before": seen.calm,
        "commands exit with the codes of their reference": _exits(seen),
        "nobody left a traceback": tracebacks_in([*seen.said, *_words_left(layout)]),
        "nothing is left over": _left_over(layout, evidence),
    }
    return evidence, tuple(Invariant(name, tuple(found)) for name, found in checks.items())


def _words_left(layout: Layout) -> list[str]:
    return [os.path.join(layout.control, name) for name in ("workers.log", "helper.log")]


def _runs(seen: Seen, evidence: Evidence) -> Iterator[str]:
    lines = Counter(str(line.get("runId")) for line in evidence.history)
    for run_id in sorted(seen.acknowledged | set(evidence.runs)):
        run = evidence.runs.get(run_id)
        if run is None:
            yield f"{run_id}: was acknowledged and is not there"
            continue
        if len(run.verdicts) != 1:
            yield f"{run_id}: {len(run.verdicts)} verdicts"
        manifest, verdict = run.manifest or {}, next(iter(run.verdicts), {})
        told = (manifest.get("status"), manifest.get("status_detail"))
        if told != (verdict.get("status"), verdict.get("detail")):
            yield f"{run_id}: its manifest says {told}, its verdict {verdict.get('status')}"
        if lines[run_id] != 1:
            yield f"{run_id}: {lines[run_id]} lines in the history"


def _batches(layout: Layout, evidence: Evidence) -> Iterator[str]:
    """A batch is one request: there are n times as many runs of each pipeline as it says."""
    found: Counter[str] = Counter()
    for run_id in evidence.runs:
        spec = load_spec(layout.run_dir(TASK, run_id).spec)
        if spec.batch == BATCH:
            found[spec.pipeline.id] += 1
    times = {name: found[name] / count for name, count in BATCH_COUNTS.items()}
    if len(set(times.values())) != 1 or not all(n.is_integer() for n in times.values()):
        yield ", ".join(f"{found[name]} {name} (of {n} each)" for name, n in BATCH_COUNTS.items())


def _marks(seen: Seen, evidence: Evidence) -> Iterator[str]:
    """Begin and end marks are the stages' own words, outside the root."""
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
            yield f"{run_id}: a {kind.name} run is told to have succeeded"
        for stage in kind.commands:
            if (run_id, stage) not in ended:
                yield f"{run_id}: succeeded, but its stage {stage} did not end its work"


def _exits(seen: Seen) -> Iterator[str]:
    for verb, codes in sorted(seen.exits.items()):
        for code in sorted(codes - _EXITS.get(verb, {0})):
            yield f"{verb}: {code}"


def _left_over(layout: Layout, evidence: Evidence) -> Iterator[str]:
    yield from evidence.temporary
    rejected = f"{layout.relative(layout.rejected)}/"
    yield from (path for path in evidence.unfinished if not path.startswith(rejected))
    if not lease_is_free(layout):
        yield "somebody holds the lease"

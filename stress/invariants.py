"""Invariants of a root at rest, apart from guardrails; each check yields its problems."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from stress.evidence import Evidence, Record, RunEvidence
from stress.outside import Outside
from stress.scenario import Pipeline, Plan
from workers.records.clock import epoch_of
from workers.records.limits import Limits

_FINAL: Final = ("succeeded", "failed", "cancelled")


@dataclass(frozen=True, slots=True)
class Invariant:
    """One invariant; it holds if there is no problem."""

    name: str
    problems: tuple[str, ...]


def check_all(
    plan: Plan, evidence: Evidence, outsides: Sequence[Outside], *, lease_free: bool
) -> tuple[Invariant, ...]:
    """Check every invariant.

    Args:
        plan: the runs of each round.
        evidence: the records after the last round.
        outsides: every round, observed from outside.
        lease_free: no process holds the root's lease.
    """
    rounds_count = len(outsides)
    checks = {
        "the supervisor exits with the expected code": _exits(plan, outsides),
        "all expected events came, and no traceback was printed": (
            p for o in outsides for p in o.problems
        ),
        "every requested run exists, and no other": _runs(plan, evidence, rounds_count),
        "every manifest is terminal and says what the journal says": _manifests(evidence),
        "every journal is in order and has one verdict": _journals(evidence),
        "no worker's heartbeat was silent past the stale limit": _silences(evidence),
        "the history has one line per run": history_problems(evidence),
        "the state is the end of the history": state_problems(evidence),
        "the metrics are the sums of the history": _metrics(evidence),
        "every run ended as designed": _outcomes(plan, evidence),
        "there are no leftovers": _left_over(evidence, lease_free=lease_free),
        "no other user can read the records": iter(evidence.wrong_mode),
        "a snapshot becomes owed if and only if the lock is held": _owed(
            plan, evidence, rounds_count
        ),
    }
    return tuple(Invariant(name, tuple(problems)) for name, problems in checks.items())


def _exits(plan: Plan, outsides: Sequence[Outside]) -> Iterator[str]:
    for number, outside in enumerate(outsides, 1):
        if outside.exit_code != plan.exit_code:
            yield f"round {number}: {outside.exit_code}, expected {plan.exit_code}"


def _runs(plan: Plan, evidence: Evidence, rounds_count: int) -> Iterator[str]:
    wanted = {pipeline.id: pipeline.count * rounds_count for pipeline in plan.pipelines}
    found = Counter(
        str((run.manifest or {}).get("pipeline_id", "no manifest"))
        for run in evidence.runs.values()
    )
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name, 0) != found[name]:
            yield f"{name}: {found[name]} runs, expected {wanted.get(name, 0)}"


def _manifests(evidence: Evidence) -> Iterator[str]:
    for run in evidence.runs.values():
        manifest, verdict = run.manifest or {}, next(iter(run.verdicts), {})
        status = manifest.get("status")
        if status not in _FINAL or not manifest.get("completed_at"):
            yield f"{run.run_id}: status {status}"
        elif (status, manifest.get("status_detail")) != (
            verdict.get("status"),
            verdict.get("detail"),
        ):
            yield f"{run.run_id}: status {status}, but the verdict says {verdict.get('status')}"
        if manifest.get("run_id") != run.run_id:
            yield f"{run.run_id}: its manifest names {manifest.get('run_id')}"
        for warning in _extensions(run).get("warnings") or ():
            yield f"{run.run_id}: warning {warning.get('code')}"


def _extensions(run: RunEvidence) -> Record:
    value = (run.manifest or {}).get("extensions")
    return value if isinstance(value, dict) else {}


def _journals(evidence: Evidence) -> Iterator[str]:
    for run in evidence.runs.values():
        if len(run.verdicts) != 1:
            yield f"{run.run_id}: {len(run.verdicts)} verdicts"
        if [fact.get("seq") for fact in run.journal] != list(range(1, len(run.journal) + 1)):
            yield f"{run.run_id}: its facts are not numbered from 1"


def _silences(evidence: Evidence) -> Iterator[str]:
    """Gaps between the time stamps of heartbeats; limit of the origin: 30 s."""
    limit_s = Limits().heartbeat_stale_after_s
    for run in evidence.runs.values():
        if not run.beats:
            yield f"{run.run_id}: no heartbeat"
        for earlier, later in pairwise(run.beats):
            try:
                silent_s = epoch_of(later) - epoch_of(earlier)
            except ValueError:
                continue  # an unparsable record, counted as such
            if silent_s > limit_s:
                yield f"{run.run_id}: {silent_s:g} s from {earlier} on"


def history_problems(evidence: Evidence) -> Iterator[str]:
    """Runs that the history lacks, has twice, invents, or has with another status."""
    counts = Counter(str(line.get("runId")) for line in evidence.history)
    yield from (f"{run_id}: {count} lines" for run_id, count in counts.items() if count > 1)
    yield from (f"{run_id}: no line" for run_id in evidence.runs if not counts[run_id])
    yield from (f"{run_id}: no such run" for run_id in counts if run_id not in evidence.runs)
    for line in evidence.history:
        run = evidence.runs.get(str(line.get("runId")))
        reported = (run.manifest or {}).get("status") if run else None
        if run and line.get("status") != reported:
            yield f"{run.run_id}: {line.get('status')}, but its manifest says {reported}"


def state_problems(evidence: Evidence) -> Iterator[str]:
    """Differences between the state and the end of the history."""
    shown = evidence.state.get("runs")
    if not isinstance(shown, list) or not shown:
        yield "state.json shows no runs"
        return
    for run_id, count in Counter(str(line.get("runId")) for line in shown).items():
        if count > 1:
            yield f"{run_id}: shown {count} times"
    if shown != evidence.history[-len(shown) :]:
        yield "the runs shown are not the history's newest lines"
    if evidence.state.get("lastRunAt") != shown[-1].get("timestamp"):
        yield "lastRunAt is not the newest line's timestamp"
    yield from sums_problems(evidence, evidence.state.get("totals"))


def sums_problems(evidence: Evidence, totals: object) -> Iterator[str]:
    """Differences between totals and the sums of the history."""
    counts = Counter(str(line.get("status")) for line in evidence.history)
    wanted = {"runs": len(evidence.history)} | {status: counts[status] for status in _FINAL}
    for key, value in wanted.items():
        reported = totals.get(key) if isinstance(totals, dict) else None
        if reported != value:
            yield f"{key}: {reported}, by the history {value}"


def _metrics(evidence: Evidence) -> Iterator[str]:
    yield from sums_problems(evidence, evidence.metrics.get("totals"))
    for row in evidence.metrics.get("guardrails") or [{"name": "no guardrails", "breached": True}]:
        if row.get("breached"):
            yield f"metrics.json calls {row.get('name')} breached"


def _outcomes(plan: Plan, evidence: Evidence) -> Iterator[str]:
    pipelines = {pipeline.id: pipeline for pipeline in plan.pipelines}
    for run in evidence.runs.values():
        pipeline = pipelines.get(str((run.manifest or {}).get("pipeline_id")))
        if pipeline is not None:
            for problem in _outcome(pipeline, run, run.manifest or {}):
                yield f"{pipeline.id} {run.run_id}: {problem}"


def _outcome(pipeline: Pipeline, run: RunEvidence, manifest: Record) -> Iterator[str]:
    found = (manifest.get("status"), manifest.get("status_detail"))
    if found != (pipeline.status, pipeline.detail):
        yield f"{found[0]} ({found[1]}), expected {pipeline.status} ({pipeline.detail})"
    commands, more = manifest.get("commands") or [], _extensions(run).get("stages") or []
    if not len(commands) == len(more) == len(pipeline.stages):
        yield f"{len(commands)} stages, expected {len(pipeline.stages)}"
        return
    for stage, command, extra in zip(pipeline.stages, commands, more, strict=True):
        reported = (command.get("status"), command.get("exit_code"), extra.get("signal"))
        wanted = (stage.status, stage.exit_code, stage.signal)
        if reported != wanted:
            yield f"stage {stage.id}: {reported}, expected {wanted}"
        seen = (extra.get("stdout") or {}).get("seen_bytes")
        if stage.seen_bytes is not None and seen != stage.seen_bytes:
            yield f"stage {stage.id}: {seen} bytes of stdout seen, {stage.seen_bytes} printed"
        if (command.get("error_file") is not None) != (stage.status == "failed"):
            yield f"stage {stage.id}: error file {command.get('error_file')}"


def _left_over(evidence: Evidence, *, lease_free: bool) -> Iterator[str]:
    yield from evidence.temporary
    yield from evidence.unfinished
    if not lease_free:
        yield "the lease is held"


def _owed(plan: Plan, evidence: Evidence, rounds_count: int) -> Iterator[str]:
    found, wanted = len(evidence.logged("snapshot_owed")), rounds_count if plan.lock_held else 0
    if found < wanted or (found and not wanted):
        yield f"{found} snapshots owed in {rounds_count} rounds, expected {wanted or 'none'}"

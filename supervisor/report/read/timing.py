"""Where the time of a run went: queue, stages, waits between tries, overhead, the critical path.

Stages that overlap count once in sums. The critical path is the chain of stages that determined the
run's duration. It goes back from the stage that ended last: to the need of it that ended last, from
there to the need of that one, and so on. A stage that had to wait for a place (``max_parallel``)
follows the stage that ended last before it. The time between two stages of the path is overhead.

Everything here takes time in proportion to the number of stages and needs.
"""

import graphlib
from collections.abc import Iterator
from typing import Any, Final

from supervisor.report.read.run_tree import RunNode, StageNode
from supervisor.report.read.stage_tries import Span, covered_s
from workers.records.dataclass import dataclass

LEAST_S: Final = 0.0005  # what is shorter is shown as nothing: records have milliseconds
_SLACK_S: Final = 0.002  # the end of a stage and the begin of the next are written apart


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One stretch of the critical path.

    Attributes:
        kind: "queue", "stage", "wait" (for the next try), "slots" (that others had) or "overhead".
        run_id: whose it is.
        stage: of which stage, None for a queue and for overhead.
        number: of which try, None where it has no more than one.
        span: when.
    """

    kind: str
    run_id: str
    stage: str | None = None
    number: int | None = None
    span: Span


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """The sums, in seconds; ``total_s`` = queued + stages + overhead.

    Attributes:
        total_s: from the acceptance to the verdict; up to now where there is none.
        queued_s: before its worker began.
        stages_s: while at least one stage was on; the waits between tries and the runs of
            sub-pipelines are in it.
        waits_s: between tries, of all runs of the tree; overlapping ones count once.
        overhead_s: while the worker lived and no stage was on; waits for slots are in it.
        path: what the length of the run is made of, in order.
    """

    total_s: float
    queued_s: float
    stages_s: float
    waits_s: float
    overhead_s: float
    path: tuple[Step, ...]


def timing_of(run: RunNode) -> Timing:
    """Add up a tree of runs."""
    end_s = run.queued.end_s if run.span is None else run.span.end_s
    spans = [stage.span for stage in run.stages if stage.span is not None]
    stages_s = covered_s(spans)
    lived_s = 0.0 if run.span is None else run.span.length_s
    waits = [
        tried.wait
        for node in run.runs()
        for stage in node.stages
        for tried in stage.tries
        if tried.wait is not None
    ]
    return Timing(
        total_s=max(0.0, end_s - run.queued.begin_s),
        queued_s=run.queued.length_s,
        stages_s=stages_s,
        waits_s=covered_s(waits),
        overhead_s=max(0.0, lived_s - stages_s),
        path=tuple(step for step in _path(run) if step.span.length_s >= LEAST_S),
    )


def _path(run: RunNode) -> Iterator[Step]:
    """What a run's length is made of, in order."""
    yield Step(kind="queue", run_id=run.run_id, span=run.queued)
    if run.span is None:
        return
    at = run.span.begin_s
    for stage, span in reversed(list(_backwards(run))):
        yield from _before(run, stage, Span(at, max(at, span.begin_s)))
        yield from _of_stage(run, stage, span)
        at = span.end_s
    yield _overhead(run, at, run.span.end_s)


_Begun = tuple[StageNode, Span]


def _backwards(run: RunNode) -> Iterator[_Begun]:
    """The stages of the critical path, the last one first."""
    by_end = sorted(
        ((stage, stage.span) for stage in run.stages if stage.span is not None),
        key=lambda begun: begun[1].end_s,
    )
    gates = _gates(run)
    begun = by_end[-1] if by_end else None
    while begun is not None:
        yield begun
        stage, span = begun
        gate = gates.get(stage.id)
        if run.max_parallel is not None and (gate is None or _waited(gate[1], span)):
            gate = _pop_last_before(by_end, stage, span)
        # Only in edited records does a stage begin before the end of what it needs.
        begun = gate if gate is not None and gate[1].end_s <= span.begin_s + _SLACK_S else None


def _gates(run: RunNode) -> dict[str, _Begun | None]:
    """For each stage its need that ended last; through needs that were reused or never begun."""
    stages = {stage.id: stage for stage in run.stages}
    gates: dict[str, _Begun | None] = {}
    order = graphlib.TopologicalSorter({stage.id: stage.needs for stage in run.stages})
    try:
        ids = list(order.static_order())
    except graphlib.CycleError:  # edited records
        return gates
    for stage_id in ids:
        ended: list[_Begun] = []
        for need in stages[stage_id].needs if stage_id in stages else ():
            found = stages.get(need)
            span = None if found is None else found.span
            gate = gates[need] if found is None or span is None else (found, span)
            ended += [] if gate is None else [gate]
        gates[stage_id] = max(ended, key=lambda begun: begun[1].end_s, default=None)
    return gates


def _waited(gate: Span, span: Span) -> bool:
    return span.begin_s - gate.end_s > _SLACK_S


def _pop_last_before(by_end: list[_Begun], stage: StageNode, span: Span) -> _Begun | None:
    """The stage that ended last before another one began; later ones are of no use any more."""
    while by_end:
        found, ended = begun = by_end.pop()
        if ended.end_s <= span.begin_s and found is not stage:
            return begun
    return None


def _of_stage(run: RunNode, stage: StageNode, span: Span) -> Iterator[Step]:
    """What a stage's length is made of: the run of its sub-pipeline, or its tries."""
    child = stage.run
    if child is not None and child.manifest:
        steps = list(_path(child))
        yield _overhead(run, span.begin_s, steps[0].span.begin_s)
        yield from steps
        yield _overhead(run, steps[-1].span.end_s, span.end_s)
        return
    for tried in stage.tries:
        number = tried.number if len(stage.tries) > 1 else None
        about = {"run_id": run.run_id, "stage": stage.id, "number": number}
        yield Step(kind="stage", span=tried.span, **about)  # type: ignore[arg-type]
        if tried.wait is not None:
            yield Step(kind="wait", span=tried.wait, **about)  # type: ignore[arg-type]


def _before(run: RunNode, stage: StageNode, gap: Span) -> Iterator[Step]:
    """What lies between a stage and the one before it on the path."""
    waited = stage.slot_wait
    if waited is None or waited.end_s <= gap.begin_s:
        yield _overhead(run, gap.begin_s, gap.end_s)
        return
    begin_s = max(waited.begin_s, gap.begin_s)
    yield _overhead(run, gap.begin_s, begin_s)
    slots = Span(begin_s, max(begin_s, min(waited.end_s, gap.end_s)))
    yield Step(kind="slots", run_id=run.run_id, stage=stage.id, span=slots)
    yield _overhead(run, slots.end_s, gap.end_s)


def _overhead(run: RunNode, begin_s: float, end_s: float) -> Step:
    return Step(kind="overhead", run_id=run.run_id, span=Span(begin_s, max(begin_s, end_s)))


def timing_json(run: RunNode) -> dict[str, Any]:
    """As ``show --timing --json`` prints it; all times in seconds since the acceptance."""
    timing = timing_of(run)
    sums = ("total_s", "queued_s", "stages_s", "waits_s", "overhead_s")
    return {
        "run_id": run.run_id,
        "task_id": run.task_id,
        "status": run.status,
        **{name: round(getattr(timing, name), 3) for name in sums},
        "stages": [_stage_json(stage) for stage in run.stages],
        "critical_path": [
            {
                "kind": step.kind,
                "run_id": step.run_id,
                "stage": step.stage,
                "try": step.number,
                **_span_json(step.span),
            }
            for step in timing.path
        ],
    }


def _span_json(span: Span | None) -> dict[str, float | None]:
    if span is None:
        return {"begin_s": None, "duration_s": None}
    return {"begin_s": round(span.begin_s, 3), "duration_s": round(span.length_s, 3)}


def _stage_json(stage: StageNode) -> dict[str, Any]:
    child = stage.run
    return {
        "id": stage.id,
        "status": stage.status,
        **_span_json(stage.span),
        "slots_wait_s": None if stage.slot_wait is None else round(stage.slot_wait.length_s, 3),
        "tries": [
            {
                "try": tried.number,
                "status": tried.status,
                **_span_json(tried.span),
                "exit_code": tried.exit_code,
                "signal": tried.signal,
                "wait_s": None if tried.wait is None else round(tried.wait.length_s, 3),
            }
            for tried in stage.tries
        ],
        "run": None
        if child is None
        else {
            "run_id": child.run_id,
            "status": child.status,
            "queued_s": round(child.queued.length_s, 3),
            **_span_json(child.span),
            "stages": [_stage_json(inner) for inner in child.stages],
        },
    }

"""Where a run's time went: queue, stages, waits between tries, overhead, and the critical path.

Stages that overlap count once in sums. The critical path is the chain of stages that determined
the run's duration. It is followed backwards from the stage that ended last: to the need of it that
ended last, and so on. A stage that had to wait for a place (``max_parallel``) follows the stage
that ended last before it began. The time between two stages of the path is overhead.

All of this takes time in proportion to the number of stages and needs.
"""

import graphlib
from collections.abc import Iterator
from typing import Any, Final

from supervisor.report.read.run_tree import RunNode, StageNode
from supervisor.report.read.stage_tries import Span, covered_s
from workers.records.dataclass import dataclass

LEAST_S: Final = 0.0005  # shorter steps are left out: records have milliseconds
_SLACK_S: Final = 0.002  # between the records of a stage's end and of the next one's begin


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One part of the critical path.

    Attributes:
        kind: "queue", "stage", "wait" (for the next try), "slots" (wait for them) or "overhead".
        run_id: the run.
        stage: the stage; None for queue and overhead.
        number: the try; None if the stage had only one.
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
        total_s: from the acceptance to the verdict, or up to now.
        queued_s: before its worker began.
        stages_s: while at least one stage was running, waits between tries and child runs included.
        waits_s: between tries, in the whole tree; overlaps count once.
        overhead_s: while its worker was alive and no stage was running, waits for slots included.
        path: the critical path, in order.
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
    stages_s = covered_s(stage.span for stage in run.stages if stage.span is not None)
    worker_s = 0.0 if run.span is None else run.span.length_s
    waits = [
        item.wait
        for node in run.runs()
        for stage in node.stages
        for item in stage.tries
        if item.wait is not None
    ]
    return Timing(
        total_s=max(0.0, end_s - run.queued.begin_s),
        queued_s=run.queued.length_s,
        stages_s=stages_s,
        waits_s=covered_s(waits),
        overhead_s=max(0.0, worker_s - stages_s),
        path=tuple(step for step in _path(run) if step.span.length_s >= LEAST_S),
    )


def _path(run: RunNode) -> Iterator[Step]:
    """The steps of a run's duration, in order."""
    yield Step(kind="queue", run_id=run.run_id, span=run.queued)
    if run.span is None:
        return
    at_s = run.span.begin_s
    for stage, span in reversed(list(_backwards(run))):
        yield from _before(run, stage, Span(at_s, max(at_s, span.begin_s)))
        yield from _during(run, stage, span)
        at_s = span.end_s
    yield _overhead(run, at_s, run.span.end_s)


_Begun = tuple[StageNode, Span]  # a stage that has begun


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
        waited = gate is None or span.begin_s - gate[1].end_s > _SLACK_S
        if run.max_parallel is not None and waited:
            gate = _pop_last_before(by_end, stage, span)
        # Only in edited records does a stage begin before the end of what it needs.
        begun = gate if gate is not None and gate[1].end_s <= span.begin_s + _SLACK_S else None


def _gates(run: RunNode) -> dict[str, _Begun | None]:
    """For each stage the need that ended last; for a need that did not run, that need's own."""
    stages = {stage.id: stage for stage in run.stages}
    gates: dict[str, _Begun | None] = {}
    order = graphlib.TopologicalSorter({stage.id: stage.needs for stage in run.stages})
    try:
        ids = list(order.static_order())
    except graphlib.CycleError:  # edited records
        return gates
    for stage_id in ids:
        ended: list[_Begun] = []
        for name in stages[stage_id].needs if stage_id in stages else ():
            need = stages.get(name)
            span = None if need is None else need.span
            gate = gates[name] if need is None or span is None else (need, span)
            ended += [] if gate is None else [gate]
        gates[stage_id] = max(ended, key=lambda begun: begun[1].end_s, default=None)
    return gates


def _pop_last_before(by_end: list[_Begun], stage: StageNode, span: Span) -> _Begun | None:
    """Remove the stages that ended last, up to the first that ended before ``stage`` began."""
    while by_end:
        other, ended = begun = by_end.pop()
        if ended.end_s <= span.begin_s and other is not stage:
            return begun
    return None


def _during(run: RunNode, stage: StageNode, span: Span) -> Iterator[Step]:
    """The steps of a stage: its child run, or its tries."""
    child = stage.run
    if child is not None and child.manifest:
        steps = list(_path(child))
        yield _overhead(run, span.begin_s, steps[0].span.begin_s)
        yield from steps
        yield _overhead(run, steps[-1].span.end_s, span.end_s)
        return
    for item in stage.tries:
        number = item.number if len(stage.tries) > 1 else None
        for kind, part in (("stage", item.span), ("wait", item.wait)):
            if part is not None:
                yield Step(kind=kind, run_id=run.run_id, stage=stage.id, number=number, span=part)


def _before(run: RunNode, stage: StageNode, gap: Span) -> Iterator[Step]:
    """The steps between a stage and the one before it on the path."""
    wait = stage.slot_wait
    if wait is None or wait.end_s <= gap.begin_s:
        yield _overhead(run, gap.begin_s, gap.end_s)
        return
    begin_s = max(wait.begin_s, gap.begin_s)
    yield _overhead(run, gap.begin_s, begin_s)
    slots = Span(begin_s, max(begin_s, min(wait.end_s, gap.end_s)))
    yield Step(kind="slots", run_id=run.run_id, stage=stage.id, span=slots)
    yield _overhead(run, slots.end_s, gap.end_s)


def _overhead(run: RunNode, begin_s: float, end_s: float) -> Step:
    return Step(kind="overhead", run_id=run.run_id, span=Span(begin_s, max(begin_s, end_s)))


def timing_json(run: RunNode) -> dict[str, Any]:
    """As ``show --timing --json`` prints it; times in seconds since the acceptance."""
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
                "try": item.number,
                "status": item.status,
                **_span_json(item.span),
                "exit_code": item.exit_code,
                "signal": item.signal,
                "wait_s": None if item.wait is None else round(item.wait.length_s, 3),
            }
            for item in stage.tries
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

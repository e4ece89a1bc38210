"""Trees of runs for tests, built from times."""

from dataclasses import replace
from typing import Any

from supervisor.report.read.run_tree import RunNode, StageNode
from supervisor.report.read.stage_tries import Span, StageTry


def tried(number: int, begin_s: float, end_s: float, wait_until: float | None = None) -> StageTry:
    wait = None if wait_until is None else Span(end_s, wait_until)
    status = "succeeded" if wait is None else "failed"
    return StageTry(number=number, span=Span(begin_s, end_s), status=status, wait=wait)


def stage(
    name: str,
    *tries: StageTry,
    needs: tuple[str, ...] = (),
    run: RunNode | None = None,
    span: Span | None = None,
) -> StageNode:
    if tries:
        span = Span(tries[0].span.begin_s, tries[-1].span.end_s)
    facts: dict[str, Any] = {"exit_code": 0, "error_file": None, "summary": None}
    return StageNode(
        index=1,
        id=name,
        status="succeeded" if span else "pending",
        span=span,
        tries=tries,
        run=run,
        facts=facts,
        extension={},
        needs=needs,
    )


def in_a_row(*stages: StageNode) -> tuple[StageNode, ...]:
    """Stages of which each needs the one before it, as in a pipeline without ``needs``."""
    ids = [(), *((stage.id,) for stage in stages)]
    return tuple(replace(stage, needs=need) for stage, need in zip(stages, ids, strict=False))


def run(
    *stages: StageNode,
    accepted_s: float = 0.0,
    begin_s: float,
    end_s: float,
    number: int = 1,
    max_parallel: int | None = None,
) -> RunNode:
    return RunNode(
        run_id=f"2025-10-31T22-56-34-431Z-{number:08x}",
        task_id="t",
        pipeline_id="p",
        status="succeeded",
        queued=Span(accepted_s, begin_s),
        span=Span(begin_s, end_s),
        stages=stages,
        max_parallel=max_parallel,
        manifest={"run": number},
    )

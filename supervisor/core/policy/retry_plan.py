"""Which stages of a finished run its retry reuses, and whether it can be retried."""

from collections.abc import Mapping
from typing import Any

from supervisor.errors import UsageError
from workers.records.manifest import FINAL, Status
from workers.records.spec import KeptSpec, PipelineSpec
from workers.stages.graph import needs_of


def reused_stages(
    manifest: Mapping[str, Any], pipeline: PipelineSpec, from_stage: str | None
) -> tuple[KeptSpec, ...]:
    """The stages whose results a retry reuses.

    Args:
        manifest: of the run to retry.
        pipeline: what it ran.
        from_stage: run this stage and its dependents again, whatever their status.

    Returns:
        Stages in order, each with the run that ran it, which may be an earlier retry.

    Raises:
        UsageError: the run has not ended, has succeeded, or has no such stage or no stages.
    """
    run_id, status = manifest["run_id"], manifest["status"]
    stages = [command["id"] for command in manifest["commands"]]
    if status not in FINAL:
        raise UsageError(
            reason=f"{run_id} is {status} and has not ended: wait for it or cancel it first; "
            "if its supervisor died, 'supervisor start' records its verdict"
        )
    if not stages:
        raise UsageError(reason=f"{run_id} has no stages on record any more and cannot be retried")
    if from_stage is None and status == Status.SUCCEEDED:
        raise UsageError(
            reason=f"{run_id} succeeded: there is nothing to retry; "
            "--from STAGE runs that stage and its dependents again"
        )
    if from_stage is not None and from_stage not in stages:
        raise UsageError(
            reason=f"{run_id} has no stage {from_stage!r}; there are: {', '.join(stages)}"
        )
    again = set() if from_stage is None else _with_dependents(pipeline, from_stage)
    earlier = manifest["extensions"].get("kept") or {}
    return tuple(
        KeptSpec(stage=command["id"], run_id=earlier.get(command["id"], run_id))
        for command in manifest["commands"]
        if command["id"] not in again and command["status"] == Status.SUCCEEDED
    )


def _with_dependents(pipeline: PipelineSpec, stage_id: str) -> set[str]:
    """A stage and every stage that needs it, directly or indirectly."""
    needs = needs_of(pipeline)
    stages: set[str] = set()
    todo = [stage_id]
    while todo:
        stages.add(at := todo.pop())
        todo += [other for other, its in needs.items() if at in its and other not in stages]
    return stages

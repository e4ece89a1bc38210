"""Which stages of a finished run another run of it keeps, and whether there may be one at all."""

from collections.abc import Mapping
from typing import Any

from supervisor.errors import UsageError
from workers.records.manifest import FINAL, Status
from workers.records.spec import KeptSpec, PipelineSpec
from workers.stages.graph import needs_of


def kept_of(
    manifest: Mapping[str, Any], pipeline: PipelineSpec, from_stage: str | None
) -> tuple[KeptSpec, ...]:
    """The stages that succeeded and need not be made again.

    Args:
        manifest: of the run that is to be made again.
        pipeline: what it ran.
        from_stage: this stage and all that need it are made, whatever they came to.

    Returns:
        Stages in order, each with the run that made it, which may be an earlier one still.

    Raises:
        UsageError: the run has not ended, has succeeded, or has no such stage or none at all.
    """
    run_id, status = manifest["run_id"], manifest["status"]
    stages = [command["id"] for command in manifest["commands"]]
    if status not in FINAL:
        raise UsageError(
            why=f"{run_id} is {status} and has not ended: 'supervisor wait' or 'cancel' it first, "
            "or 'supervisor start' where its supervisor died"
        )
    if not stages:
        raise UsageError(why=f"{run_id} has no stages: what it was to do is not on record any more")
    if from_stage is None and status == Status.SUCCEEDED:
        raise UsageError(
            why=f"{run_id} succeeded: there is nothing to make again; "
            "--from STAGE makes that stage and all that need it again"
        )
    if from_stage is not None and from_stage not in stages:
        raise UsageError(
            why=f"{run_id} has no stage {from_stage!r}; there are: {', '.join(stages)}"
        )
    again = set() if from_stage is None else _behind(pipeline, from_stage)
    earlier = manifest["extensions"].get("kept") or {}
    return tuple(
        KeptSpec(stage=command["id"], run_id=earlier.get(command["id"], run_id))
        for command in manifest["commands"]
        if command["id"] not in again and command["status"] == Status.SUCCEEDED
    )


def _behind(pipeline: PipelineSpec, stage_id: str) -> set[str]:
    """A stage and every stage that needs it, directly or not."""
    needs = needs_of(pipeline)
    found: set[str] = set()
    todo = [stage_id]
    while todo:
        found.add(at := todo.pop())
        todo += [other for other, its in needs.items() if at in its and other not in found]
    return found

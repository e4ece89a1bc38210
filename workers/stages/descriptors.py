"""How many stages a worker can run at once with the descriptors that it may open.

A worker that runs out of descriptors in the middle of a stage fails it, so it starts fewer stages
at once instead. ``init_process`` has raised the soft limit to the hard one before anybody asks.
"""

import resource
from typing import Final

from workers.records.spec import PipelineSpec

# Counted in /proc/PID/fd: a worker at rest holds 12, opens 3 more to start a stage, and up to 6 to
# write an error file, to look for processes or to ask for a sub-pipeline.
WORKER_FDS_COUNT: Final = 32
STAGE_FDS_COUNT: Final = 5  # two pipes, two logs and a pidfd; one more for each slot that it uses


def fds_per_stage(pipeline: PipelineSpec) -> int:
    """How many descriptors the stage that needs most of a pipeline's holds while it runs."""
    return STAGE_FDS_COUNT + max((len(stage.uses) for stage in pipeline.stages), default=0)


def stages_side_by_side(pipeline: PipelineSpec) -> int:
    """How many stages of a pipeline run at once at most; needs may keep some apart."""
    count = len(pipeline.stages)
    if all(stage.needs is None for stage in pipeline.stages):
        return min(1, count)
    return count if pipeline.max_parallel is None else min(count, pipeline.max_parallel)


def descriptors_of(pipeline: PipelineSpec) -> int:
    """How many descriptors a worker needs at most for a pipeline."""
    return WORKER_FDS_COUNT + fds_per_stage(pipeline) * stages_side_by_side(pipeline)


def stages_at_once(pipeline: PipelineSpec) -> int | None:
    """How many stages of a pipeline may run at once here.

    Returns:
        None if there are descriptors for all that may; else 1 or more.
    """
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if soft == resource.RLIM_INFINITY or descriptors_of(pipeline) <= soft:
        return None
    return max(1, (soft - WORKER_FDS_COUNT) // fds_per_stage(pipeline))

"""Which stages may start: those whose needs are met, in the order in which they are written.

If no stage of a pipeline has ``needs``, each needs the one before it. A worker that runs out of
descriptors in the middle of a stage fails it, so it runs no more stages at once than its limit of
descriptors allows.
"""

import itertools
import resource
from bisect import insort
from collections.abc import Iterator
from typing import Final

from workers.records.spec import PipelineSpec, StageSpec

# Counted in /proc/PID/fd: an idle worker has 12, opens 3 more to start a stage, and up to 6 to
# write an error file, find processes or request a sub-pipeline.
WORKER_FDS_COUNT: Final = 32
STAGE_FDS_COUNT: Final = 5  # two pipes, two logs and a pidfd; one more for each slot that it uses


class Graph:
    """Tracks which stages run and have ended, and which may start.

    Args:
        pipeline: its stages; their ``needs`` form no circle.
        limit: how many stages may run at once, next to the pipeline's own limit; None for any.
    """

    def __init__(self, pipeline: PipelineSpec, limit: int | None = None) -> None:
        limits = [count for count in (pipeline.max_parallel, limit) if count is not None]
        self._limit = min(limits, default=None)
        self._stages = pipeline.stages
        self._places = {stage.id: place for place, stage in enumerate(pipeline.stages)}
        self._unmet = {stage: dict.fromkeys(needs) for stage, needs in needs_of(pipeline).items()}
        self._needed_by: dict[str, list[str]] = {}
        for stage_id, needs in self._unmet.items():
            for need in needs:
                self._needed_by.setdefault(need, []).append(stage_id)
        self._ready = [self._places[name] for name, needs in self._unmet.items() if not needs]
        self._running: set[str] = set()

    def next(self) -> tuple[int, StageSpec] | None:
        """The next stage that may start, with its place from 1; None if none may."""
        if not self._ready or not self.has_room:
            return None
        place = self._ready[0]
        return place + 1, self._stages[place]

    @property
    def has_room(self) -> bool:
        """Whether one more stage may run."""
        return self._limit is None or len(self._running) < self._limit

    def defer(self, stage_id: str) -> None:
        """Remove a stage from those that ``next`` returns; it does not run until it is started."""
        self._ready.remove(self._places[stage_id])

    def start(self, stage_id: str) -> None:
        """Note that a stage runs."""
        place = self._places[stage_id]
        if place in self._ready:
            self._ready.remove(place)
        self._running.add(stage_id)

    def end(self, stage_id: str, status: str) -> None:
        """Note that a stage has ended; its dependents may start unless it ``failed``."""
        self._running.discard(stage_id)
        if status == "failed":
            return
        for other in self._needed_by.get(stage_id, ()):
            del self._unmet[other][stage_id]
            if not self._unmet[other]:
                insort(self._ready, self._places[other])

    def unmet(self) -> Iterator[tuple[str, str]]:
        """The stages that may not start, each with one of its unmet needs."""
        for stage_id, needs in self._unmet.items():
            if needs:
                yield stage_id, next(iter(needs))


def needs_of(pipeline: PipelineSpec) -> dict[str, tuple[str, ...]]:
    """For each stage the stages that it needs."""
    ids = [stage.id for stage in pipeline.stages]
    if _is_sequence(pipeline):
        chain = {later: (earlier,) for earlier, later in itertools.pairwise(ids)}
        return {**dict.fromkeys(ids[:1], ()), **chain}
    return {stage.id: stage.needs or () for stage in pipeline.stages}


def _is_sequence(pipeline: PipelineSpec) -> bool:
    return all(stage.needs is None for stage in pipeline.stages)


def fds_per_stage(pipeline: PipelineSpec) -> int:
    """How many descriptors a running stage of a pipeline needs at most."""
    return STAGE_FDS_COUNT + max((len(stage.uses) for stage in pipeline.stages), default=0)


def stages_side_by_side(pipeline: PipelineSpec) -> int:
    """How many stages of a pipeline run at once at most; needs may keep some apart."""
    count = len(pipeline.stages)
    if _is_sequence(pipeline):
        return min(1, count)
    return count if pipeline.max_parallel is None else min(count, pipeline.max_parallel)


def descriptors_of(pipeline: PipelineSpec) -> int:
    """How many descriptors a worker needs at most for a pipeline."""
    return WORKER_FDS_COUNT + fds_per_stage(pipeline) * stages_side_by_side(pipeline)


def stages_at_once(pipeline: PipelineSpec) -> int | None:
    """How many stages of a pipeline this process's limit of descriptors allows at once.

    Returns:
        None if it allows all of them; else 1 or more.
    """
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]  # ``init_process`` has raised it
    if soft == resource.RLIM_INFINITY or descriptors_of(pipeline) <= soft:
        return None
    return max(1, (soft - WORKER_FDS_COUNT) // fds_per_stage(pipeline))

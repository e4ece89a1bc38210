"""Which stages may begin: those whose needs are met, in the order in which they were written down.

Where no stage of a pipeline says what it needs, each needs the one before it.
"""

import itertools
from collections.abc import Iterator

from workers.records.spec import PipelineSpec, StageSpec


class Graph:
    """Knows what has ended, what is on, and what that leaves.

    Args:
        pipeline: its stages; ``needs`` names stages of it and leads in no circle.
    """

    def __init__(self, pipeline: PipelineSpec) -> None:
        self._limit = pipeline.max_parallel
        self._stages = {stage.id: (index, stage) for index, stage in enumerate(pipeline.stages, 1)}
        self._needs = needs_of(pipeline)
        self._waiting = list(self._stages)
        self._on: set[str] = set()
        self._met: set[str] = set()

    def next(self) -> tuple[int, StageSpec] | None:
        """The next stage that may begin now, with its place from 1; None where none may."""
        if self._limit is not None and len(self._on) >= self._limit:
            return None
        for stage_id in self._waiting:
            if self._unmet_need(stage_id) is None:
                return self._stages[stage_id]
        return None

    def begin(self, stage_id: str) -> None:
        """A stage is on."""
        self._waiting.remove(stage_id)
        self._on.add(stage_id)

    def ended(self, stage_id: str, status: str) -> None:
        """A stage has ended; what needs it may begin unless its status is ``failed``."""
        self._on.discard(stage_id)
        if status != "failed":
            self._met.add(stage_id)

    def unmet(self) -> Iterator[tuple[str, str]]:
        """The stages that may not begin, and a need of each that is not met."""
        for stage_id in self._waiting:
            need = self._unmet_need(stage_id)
            if need is not None:
                yield stage_id, need

    def _unmet_need(self, stage_id: str) -> str | None:
        return next((n for n in self._needs[stage_id] if n not in self._met), None)


def needs_of(pipeline: PipelineSpec) -> dict[str, tuple[str, ...]]:
    """For each stage the stages that must not have failed before it begins."""
    ids = [stage.id for stage in pipeline.stages]
    if all(stage.needs is None for stage in pipeline.stages):
        return {ids[0]: (), **{later: (earlier,) for earlier, later in itertools.pairwise(ids)}}
    return {stage.id: stage.needs or () for stage in pipeline.stages}

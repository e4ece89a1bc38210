"""Which stages may begin: those whose needs are met, in the order in which they were written down.

Where no stage of a pipeline says what it needs, each needs the one before it.
"""

import itertools
from bisect import insort
from collections.abc import Iterator

from workers.records.spec import PipelineSpec, StageSpec


class Graph:
    """Knows what has ended, what is on, and what that leaves; an ending costs what needs it.

    Args:
        pipeline: its stages; ``needs`` names stages of it and leads in no circle.
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
        self._on: set[str] = set()

    def next(self) -> tuple[int, StageSpec] | None:
        """The next stage that may begin now, with its place from 1; None where none may."""
        if not self._ready or not self.has_room:
            return None
        place = self._ready[0]
        return place + 1, self._stages[place]

    @property
    def has_room(self) -> bool:
        """Tell whether one more stage may be on."""
        return self._limit is None or len(self._on) < self._limit

    def wait(self, stage_id: str) -> None:
        """A stage that ``next`` named is named no more, and is not on before it begins."""
        self._ready.remove(self._places[stage_id])

    def begin(self, stage_id: str) -> None:
        """A stage is on."""
        place = self._places[stage_id]
        if place in self._ready:
            self._ready.remove(place)
        self._on.add(stage_id)

    def ended(self, stage_id: str, status: str) -> None:
        """A stage has ended; what needs it may begin unless its status is ``failed``."""
        self._on.discard(stage_id)
        if status == "failed":
            return
        for other in self._needed_by.get(stage_id, ()):
            del self._unmet[other][stage_id]
            if not self._unmet[other]:
                insort(self._ready, self._places[other])

    def unmet(self) -> Iterator[tuple[str, str]]:
        """The stages that may not begin, and a need of each that is not met."""
        for stage_id, needs in self._unmet.items():
            if needs:
                yield stage_id, next(iter(needs))


def needs_of(pipeline: PipelineSpec) -> dict[str, tuple[str, ...]]:
    """For each stage the stages that must not have failed before it begins."""
    ids = [stage.id for stage in pipeline.stages]
    if all(stage.needs is None for stage in pipeline.stages):
        chain = {later: (earlier,) for earlier, later in itertools.pairwise(ids)}
        return {**dict.fromkeys(ids[:1], ()), **chain}
    return {stage.id: stage.needs or () for stage in pipeline.stages}

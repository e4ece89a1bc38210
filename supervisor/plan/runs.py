"""Run specs: everything that a worker must know, resolved before anything is accepted."""

import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass

from supervisor.plan.batches import Batch
from supervisor.plan.catalog import Catalog
from supervisor.settings import Settings, limits_of
from workers.records.clock import utc_text
from workers.records.ids import check_id, new_run_id, why_bad
from workers.records.spec import PipelineSpec, RunSpec, StageSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """Who asks for runs, and with which settings.

    Attributes:
        asked_by: "start", "run" or "submit".
    """

    settings: Settings
    asked_by: str

    def spec(
        self,
        pipeline: PipelineSpec,
        pipelines: tuple[PipelineSpec, ...] = (),
        *,
        task: str | None,
        batch: str | None = None,
    ) -> RunSpec:
        """One run of a pipeline; BadIdError where the task's id may not be one."""
        now = time.time()
        return RunSpec(
            run_id=new_run_id(epoch_s=now, entropy=os.urandom(4)),
            task_id=check_id("task", task or self.settings.default_task),
            pipeline=pipeline,
            pipelines=pipelines,
            batch=batch,
            asked_by=self.asked_by,
            asked_at=utc_text(now),
            resume_token=os.urandom(16).hex(),
            secrets=tuple(self.settings.secrets),
            limits=limits_of(self.settings),
        )

    def named(self, catalog: Catalog, pipeline_id: str, task: str | None) -> RunSpec:
        """One run of a configured pipeline; UsageError where there is none of that name."""
        pipeline, pipelines = catalog.resolve(pipeline_id)
        return self.spec(pipeline, pipelines, task=task)

    def command(self, words: tuple[str, ...], task: str | None) -> RunSpec:
        """One run of a command that is configured nowhere."""
        stage = StageSpec(id=_stage_id(words[0]), title=" ".join(words)[:200], command=words)
        pipeline = PipelineSpec(id="command", title=stage.title, stages=(stage,))
        return self.spec(pipeline, task=task)

    def batch(self, batch: Batch, task: str | None) -> Iterator[RunSpec]:
        """Every run of a batch, in its order; ``task`` is for runs that name none."""
        for planned in batch.runs:
            pipeline, pipelines = batch.catalog.resolve(planned.pipeline)
            for _ in range(planned.count):
                yield self.spec(pipeline, pipelines, task=planned.task or task, batch=batch.key)


def _stage_id(program: str) -> str:
    """A file name for a command's stage: its program's name where that may be an id."""
    name = re.sub(r"[^A-Za-z0-9._-]", "-", os.path.basename(program))[:60]
    return name if why_bad(name) is None else "command"

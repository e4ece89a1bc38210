"""Run specs: everything that a worker must know, resolved before anything is accepted."""

import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field, replace

from supervisor.config.batches import Batch
from supervisor.config.catalog import Catalog
from supervisor.config.groups import unknown
from supervisor.config.hook_specs import hook_specs
from supervisor.config.param_values import resolved, wrong_with
from supervisor.config.settings import PLACED, Settings, limits_of
from supervisor.errors import UsageError
from workers.records.clock import utc_text
from workers.records.dataclass import dataclass
from workers.records.ids import check_id, id_problem, new_run_id
from workers.records.params import bind_params
from workers.records.placement import CALLER
from workers.records.spec import AfterSpec, Pairs, PipelineSpec, RunSpec, SlotSpec, StageSpec
from workers.records.utf8 import readable


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How a run is to be made.

    Attributes:
        task: None means the default task.
        params: what the command line gave, by name, as text.
        priority: the higher starts first.
        group: its concurrency group; None means the pipeline's.
        after: the runs that must have succeeded before it starts.
        env: variables of every stage, over what pipeline and stage say.
        cwd: where a command behind ``--`` runs, an absolute path; None for the root.
    """

    task: str | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    priority: int = 0
    group: str | None = None
    after: tuple[AfterSpec, ...] = ()
    env: Pairs = ()
    cwd: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecBuilder:
    """Who asks for runs, and with which settings.

    Attributes:
        asked_by: "start", "run" or "submit". Unless an engine places runs, those of "run" are
            hosted by their callers.
        nested_in: the run in one of whose stages we were called, None for most.
    """

    settings: Settings
    asked_by: str
    nested_in: str | None = None

    def spec(
        self,
        pipeline: PipelineSpec,
        pipelines: tuple[PipelineSpec, ...] = (),
        *,
        wish: RunOptions,
        params: Pairs = (),
        batch: Batch | None = None,
    ) -> RunSpec:
        """One run of a pipeline.

        Raises:
            BadIdError: the task's id may not be one.
            UsageError: there is no such group.
        """
        group = wish.group or pipeline.group
        if group is not None and group not in self.settings.groups:
            raise UsageError(reason=unknown(group, self.settings.groups))
        now = time.time()
        return RunSpec(
            run_id=new_run_id(epoch_s=now, entropy=os.urandom(4)),
            task_id=check_id("task", wish.task or self.settings.default_task),
            pipeline=bind_params(pipeline, params),
            pipelines=pipelines,
            params=params,
            batch=None if batch is None else batch.key,
            batch_edition=None if batch is None else batch.edition,
            priority=wish.priority,
            group=group,
            after=wish.after,
            slots=self._slots((pipeline, *pipelines)),
            env=wish.env,
            launcher=CALLER if self._is_hosted else None,
            nested_in=self.nested_in if self.asked_by == "run" else None,
            asked_by=self.asked_by,
            asked_at=utc_text(now),
            resume_token=os.urandom(16).hex(),
            secrets=tuple(self.settings.secrets),
            limits=limits_of(self.settings),
            hooks=hook_specs(
                self.settings.on_success, self.settings.on_failure, self.settings.on_finish
            ),
        )

    @property
    def _is_hosted(self) -> bool:
        return self.asked_by == "run" and self.settings.launcher not in PLACED

    def _slots(self, pipelines: tuple[PipelineSpec, ...]) -> tuple[SlotSpec, ...]:
        used = {name for item in pipelines for stage in item.stages for name in stage.uses}
        return tuple(SlotSpec(name=n, count=self.settings.slots[n]) for n in sorted(used))

    def named(self, catalog: Catalog, pipeline_id: str, wish: RunOptions) -> RunSpec:
        """One run of a configured pipeline.

        Raises:
            UsageError: there is none of that name, or its parameters are wrong: all are named.
        """
        pipeline, pipelines = catalog.resolve(pipeline_id)
        wrong = [
            f"param {name!r} {why}" for name, why in wrong_with(pipeline, wish.params, typed=False)
        ]
        if wrong:
            raise UsageError(reason="\n".join((f"pipeline {pipeline_id}:", *wrong)))
        params = resolved(pipeline, wish.params, typed=False)
        return self.spec(pipeline, pipelines, wish=wish, params=params)

    def all_named(self, catalog: Catalog, names: Iterable[str], wish: RunOptions) -> list[RunSpec]:
        """One run of each pipeline; each gets the parameters that it takes.

        Raises:
            UsageError: as ``named``; or a parameter is taken by none of them.
        """
        taken = [{item.name for item in catalog.resolve(name)[0].takes} for name in names]
        lost = [name for name in wish.params if not any(name in own for own in taken)]
        specs = []
        for name, own in zip(names, taken, strict=True):
            params = {k: v for k, v in wish.params.items() if k in own or k in lost}
            specs.append(self.named(catalog, name, replace(wish, params=params)))
        return specs

    def command(self, words: tuple[str, ...], wish: RunOptions) -> RunSpec:
        """One run of a command that is configured nowhere; UsageError where params are given."""
        if wish.params:
            raise UsageError(
                reason="a command behind '--' takes no --param: write the value into it"
            )
        stage = StageSpec(
            id=_stage_id(words[0]), title=readable(" ".join(words))[:200], command=words
        )
        pipeline = PipelineSpec(id="command", title=stage.title, stages=(stage,), cwd=wish.cwd)
        return self.spec(pipeline, wish=wish)

    def batch(self, batch: Batch, task: str | None) -> Iterator[RunSpec]:
        """Every run of a batch, in its order; ``task`` is for runs that name none.

        All of them were asked for at one instant, which tells this round of the batch from others.
        """
        asked_at = utc_text(time.time())
        for planned in batch.runs:
            pipeline, pipelines = batch.catalog.resolve(planned.pipeline)
            wish = RunOptions(
                task=planned.task or task, priority=planned.priority, group=planned.group
            )
            for _ in range(planned.count):
                spec = self.spec(
                    pipeline,
                    pipelines,
                    wish=wish,
                    params=planned.params,
                    batch=batch,
                )
                yield replace(spec, asked_at=asked_at)


def _stage_id(program: str) -> str:
    """A file name for a command's stage: its program's name where that may be an id."""
    name = re.sub(r"[^A-Za-z0-9._-]", "-", os.path.basename(program))[:60]
    return name if id_problem(name) is None else "command"

"""Run specs: everything that a worker needs, resolved before a run is accepted."""

import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field, replace

from supervisor.config.batches import Batch
from supervisor.config.catalog import Catalog
from supervisor.config.param_values import param_problems, resolve_params
from supervisor.config.references import unknown_group
from supervisor.config.settings import PLACED, Settings, hooks_of, limits_of
from supervisor.errors import UsageError
from workers.records.clock import utc_text
from workers.records.dataclass import dataclass
from workers.records.ids import check_id, id_problem, new_run_id
from workers.records.json_text import readable
from workers.records.params import bind_params
from workers.records.placement import CALLER
from workers.records.spec import (
    AfterSpec,
    KeptSpec,
    Pairs,
    PipelineSpec,
    RunSpec,
    SlotSpec,
    StageSpec,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """The options of ``run`` and ``submit``, or of a batch's run.

    Attributes:
        task: None means the default task.
        params: values of ``--param``, by name.
        priority: a higher number starts first.
        group: its concurrency group; None means the pipeline's.
        after: the runs that must succeed before it starts.
        env: variables of every stage; they override those of pipeline and stage.
        cwd: absolute working directory of a command after ``--``; None for the root.
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
    """Builds the specs of runs.

    Attributes:
        asked_by: "start", "run" or "submit". Unless an engine places runs, those of "run" are
            hosted by their callers.
        nested_in: the run whose stage called this program, None for most.
    """

    settings: Settings
    asked_by: str
    nested_in: str | None = None

    def spec(
        self,
        pipeline: PipelineSpec,
        pipelines: tuple[PipelineSpec, ...] = (),
        *,
        options: RunOptions,
        params: Pairs = (),
        batch: Batch | None = None,
    ) -> RunSpec:
        """The spec of one run of a pipeline.

        Raises:
            BadIdError: the task's id is not valid.
            UsageError: the group does not exist.
        """
        group = options.group or pipeline.group
        if group is not None and group not in self.settings.groups:
            raise UsageError(reason=unknown_group(group, self.settings.groups))
        now = time.time()
        return RunSpec(
            run_id=new_run_id(epoch_s=now, entropy=os.urandom(4)),
            task_id=check_id("task", options.task or self.settings.default_task),
            pipeline=bind_params(pipeline, params),
            pipelines=pipelines,
            params=params,
            batch=None if batch is None else batch.key,
            batch_edition=None if batch is None else batch.edition,
            priority=options.priority,
            group=group,
            after=options.after,
            slots=self._slots((pipeline, *pipelines)),
            env=options.env,
            launcher=CALLER if self._is_hosted else None,
            nested_in=self.nested_in if self.asked_by == "run" else None,
            asked_by=self.asked_by,
            asked_at=utc_text(now),
            resume_token=os.urandom(16).hex(),
            secrets=tuple(self.settings.secrets),
            limits=limits_of(self.settings),
            hooks=hooks_of(self.settings),
        )

    @property
    def _is_hosted(self) -> bool:
        return self.asked_by == "run" and self.settings.launcher not in PLACED

    def _slots(self, pipelines: tuple[PipelineSpec, ...]) -> tuple[SlotSpec, ...]:
        used = {name for item in pipelines for stage in item.stages for name in stage.uses}
        return tuple(SlotSpec(name=n, count=self.settings.slots[n]) for n in sorted(used))

    def named(self, catalog: Catalog, pipeline_id: str, options: RunOptions) -> RunSpec:
        """The spec of one run of a configured pipeline.

        Raises:
            UsageError: it does not exist, or its parameters are wrong: each is reported.
        """
        pipeline, pipelines = catalog.resolve(pipeline_id)
        problems = [
            f"param {name!r} {text}"
            for name, text in param_problems(pipeline, options.params, typed=False)
        ]
        if problems:
            raise UsageError(reason="\n".join((f"pipeline {pipeline_id}:", *problems)))
        params = resolve_params(pipeline, options.params, typed=False)
        return self.spec(pipeline, pipelines, options=options, params=params)

    def all_named(
        self, catalog: Catalog, names: Iterable[str], options: RunOptions
    ) -> list[RunSpec]:
        """The spec of one run of each pipeline; each gets the parameters that it declares.

        Raises:
            UsageError: as ``named``; or no pipeline declares a parameter.
        """
        taken = [{item.name for item in catalog.resolve(name)[0].takes} for name in names]
        unknown = [name for name in options.params if not any(name in own for own in taken)]
        specs = []
        for name, own in zip(names, taken, strict=True):
            params = {k: v for k, v in options.params.items() if k in own or k in unknown}
            specs.append(self.named(catalog, name, replace(options, params=params)))
        return specs

    def command(self, argv: tuple[str, ...], options: RunOptions) -> RunSpec:
        """The spec of one run of a command; UsageError if params are given."""
        if options.params:
            raise UsageError(
                reason="a command after '--' takes no --param: write the value into it"
            )
        stage = StageSpec(id=_stage_id(argv[0]), title=readable(" ".join(argv))[:200], command=argv)
        pipeline = PipelineSpec(id="command", title=stage.title, stages=(stage,), cwd=options.cwd)
        return self.spec(pipeline, options=options)

    def batch(self, batch: Batch, task: str | None) -> Iterator[RunSpec]:
        """The specs of a batch's runs, in order; ``task`` is for runs that name none.

        All have the same ``asked_at``, which identifies this round of the batch.
        """
        asked_at = utc_text(time.time())
        for planned in batch.runs:
            pipeline, pipelines = batch.catalog.resolve(planned.pipeline)
            options = RunOptions(
                task=planned.task or task, priority=planned.priority, group=planned.group
            )
            for _ in range(planned.count):
                spec = self.spec(
                    pipeline,
                    pipelines,
                    options=options,
                    params=planned.params,
                    batch=batch,
                )
                yield replace(spec, asked_at=asked_at)


def _stage_id(program: str) -> str:
    """The id of a command's stage: its program's name if that is a valid id."""
    name = re.sub(r"[^A-Za-z0-9._-]", "-", os.path.basename(program))[:60]
    return name if id_problem(name) is None else "command"


def retry_spec(
    old: RunSpec, kept: tuple[KeptSpec, ...], after: tuple[AfterSpec, ...] = ()
) -> RunSpec:
    """The spec of a run that retries another one, without a parent or a caller.

    Args:
        old: the spec to run again.
        kept: the stages whose results are reused.
        after: the runs that it depends on, instead of those of the old run.
    """
    now = time.time()
    return replace(
        old,
        run_id=new_run_id(epoch_s=now, entropy=os.urandom(4)),
        parent_run_id=None,
        retry_of=old.run_id,
        kept=kept,
        batch=None,
        batch_edition=None,
        after=after,
        launcher=None,
        nested_in=None,
        asked_by="retry",
        asked_at=utc_text(now),
        resume_token=os.urandom(16).hex(),
    )

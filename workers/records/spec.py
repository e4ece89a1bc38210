"""spec.json: what was asked, resolved once and never changed.

The worker needs nothing but this file. It holds the pipeline, every pipeline that it can reach as a
sub-pipeline, the limits in force and the *names* of secret variables (never a value). Readers
ignore keys that they do not know; ``schema`` names the format.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from workers.records.errors import BadRecordError
from workers.records.fields import Fields, check_schema, plain
from workers.records.files import read_object
from workers.records.hooks import HookSpec, due, read_hooks
from workers.records.ids import is_run_id, why_bad
from workers.records.limits import Limits

SCHEMA: Final = "pipeline-supervisor/spec/1"
Pairs = tuple[tuple[str, str], ...]


class StageKind(StrEnum):
    """What a stage runs; the words are the origin's."""

    COMMAND = "command"
    SUBPIPELINE = "subpipeline"


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrySpec:
    """When a failed stage is tried again.

    Attributes:
        attempts: tries in all, the first included; 1 means no retry.
        delay_s: wait before the second try, in seconds.
        factor: each further wait is this many times the one before.
        max_delay_s: no wait is longer.
        on_exit_codes: only these exit codes are tried again; None means every failure.
    """

    attempts: int = 1
    delay_s: float = 1.0
    factor: float = 2.0
    max_delay_s: float = 60.0
    on_exit_codes: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ParamSpec:
    """A parameter that a pipeline takes.

    Attributes:
        type: string, integer, number or boolean.
        choices: the values that it may have, as text; empty means every one of its type.
        default: its value, as text, where none is given; None means that one must be.
    """

    name: str
    type: str = "string"
    choices: tuple[str, ...] = ()
    default: str | None = None
    description: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSpec:
    """One stage.

    Attributes:
        command: a string for ``/bin/sh -c``, or an argv; None for a sub-pipeline.
        pipeline: the sub-pipeline's id; None for a command.
        params: what the sub-pipeline's run gets.
        cwd: relative to the root; None means the pipeline's.
        timeout_s: longest duration of one try; None means no limit.
        allow_failure: a failure is recorded as ``skipped`` and the run goes on.
        needs: the stages that must not have failed before it begins; None where nobody says.
        uses: the shared slots that it holds while it is on.
    """

    id: str
    title: str
    kind: StageKind = StageKind.COMMAND
    command: str | tuple[str, ...] | None = None
    pipeline: str | None = None
    params: Pairs = ()
    cwd: str | None = None
    env: Pairs = ()
    timeout_s: float | None = None
    allow_failure: bool = False
    success_exit_codes: tuple[int, ...] = (0,)
    summary_hint: str | None = None
    retries: RetrySpec = field(default_factory=RetrySpec)
    needs: tuple[str, ...] | None = None
    uses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineSpec:
    """An ordered list of stages.

    Attributes:
        timeout_s: bounds the whole of them.
        group: the concurrency group of its runs, where nobody says another.
        takes: the parameters that it declares.
        max_parallel: how many of its stages are on at once; None means no limit.
    """

    id: str
    title: str
    stages: tuple[StageSpec, ...]
    description: str | None = None
    tags: tuple[str, ...] = ()
    env: Pairs = ()
    cwd: str | None = None
    timeout_s: float | None = None
    group: str | None = None
    takes: tuple[ParamSpec, ...] = ()
    hooks: tuple[HookSpec, ...] = ()
    max_parallel: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotSpec:
    """A kind of slot that all runs share, and how many there are."""

    name: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AfterSpec:
    """A run that must have succeeded before this one starts, and where it is."""

    run_id: str
    task_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptSpec:
    """A stage that is not made, and the run in which it succeeded."""

    stage: str
    run_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """One run as asked.

    Attributes:
        pipeline: what to run, its parameters filled in.
        pipelines: every pipeline reachable from it through sub-pipeline stages, as written.
        params: the value of every parameter, as text, by its name.
        parent_run_id: the run whose stage asked for this one.
        retry_of: the run that this one makes again.
        kept: the stages that are not made, since they succeeded before.
        batch: the key of the batch that it belongs to.
        priority: the higher starts first; -1000 to 1000.
        group: the concurrency group that it counts against.
        after: the runs that must have succeeded before it starts.
        slots: the shared slots that its stages use, and those of its sub-pipelines.
        asked_by: "start", "run", "submit", "retry" or "worker".
        asked_at: RFC 3339 UTC.
        resume_token: random hex, the origin's field.
        secrets: names of environment variables whose values are masked in every record.
        hooks: of the settings; none for a run that a stage asked for.
    """

    run_id: str
    task_id: str
    pipeline: PipelineSpec
    pipelines: tuple[PipelineSpec, ...] = ()
    params: Pairs = ()
    parent_run_id: str | None = None
    retry_of: str | None = None
    kept: tuple[KeptSpec, ...] = ()
    batch: str | None = None
    priority: int = 0
    group: str | None = None
    after: tuple[AfterSpec, ...] = ()
    slots: tuple[SlotSpec, ...] = ()
    asked_by: str
    asked_at: str
    resume_token: str
    secrets: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    hooks: tuple[HookSpec, ...] = ()

    def hooks_due(self, status: str) -> tuple[HookSpec, ...]:
        """What is to be started when the run has ended so, in this order."""
        return due(self.pipeline.hooks, self.hooks, status)

    def to_json(self) -> dict[str, Any]:
        """The content of spec.json."""
        return {"schema": SCHEMA, **plain(self)}

    @staticmethod
    def from_json(data: dict[str, Any], path: str) -> "RunSpec":
        """Read the content of spec.json.

        Args:
            data: a JSON object.
            path: where it came from, for the error.

        Raises:
            BadRecordError: it is not a spec of this format; the error names the key.
        """
        check_schema(data, SCHEMA, path)
        read = Fields(data, path)
        spec = RunSpec(
            run_id=read.text("run_id"),
            task_id=read.text("task_id"),
            pipeline=read_pipeline(read.child("pipeline")),
            pipelines=tuple(read_pipeline(item) for item in read.children("pipelines")),
            params=read.pairs("params"),
            parent_run_id=read.text_or_none("parent_run_id"),
            retry_of=read.text_or_none("retry_of"),
            kept=tuple(_kept(item) for item in read.children("kept")),
            batch=read.text_or_none("batch"),
            priority=read.integer_or("priority", 0),
            group=read.text_or_none("group"),
            after=tuple(_after(item) for item in read.children("after")),
            slots=tuple(_slot(item) for item in read.children("slots")),
            asked_by=read.text("asked_by"),
            asked_at=read.text("asked_at"),
            resume_token=read.text("resume_token"),
            secrets=read.texts("secrets"),
            limits=_limits(read.child("limits")),
            hooks=read_hooks(read.children("hooks")),
        )
        named = (*(leader.run_id for leader in spec.after), *(kept.run_id for kept in spec.kept))
        for run_id in (spec.run_id, spec.parent_run_id, spec.retry_of, *named):
            if run_id is not None and not is_run_id(run_id):
                raise BadRecordError(path=path, why=f"{run_id!r} is no run id")
        if any(leader.run_id == spec.run_id for leader in spec.after):
            raise BadRecordError(path=path, why="the run is to start after itself")
        pipelines = (spec.pipeline, *spec.pipelines)
        stages = (stage.id for pipeline in pipelines for stage in pipeline.stages)
        others = (
            *(leader.task_id for leader in spec.after),
            *((spec.group,) if spec.group else ()),
            *(slot.name for slot in spec.slots),
        )
        for name in (spec.task_id, *(pipeline.id for pipeline in pipelines), *stages, *others):
            if why_bad(name):
                raise BadRecordError(path=path, why=f"the id {name!r} {why_bad(name)}")
        return spec


def _kept(read: Fields) -> KeptSpec:
    return KeptSpec(stage=read.text("stage"), run_id=read.text("run_id"))


def _slot(read: Fields) -> SlotSpec:
    return SlotSpec(name=read.text("name"), count=read.integer("count"))


def _after(read: Fields) -> AfterSpec:
    return AfterSpec(run_id=read.text("run_id"), task_id=read.text("task_id"))


def read_pipeline(read: Fields) -> PipelineSpec:
    """Read a pipeline of a record; BadRecordError where it is none."""
    stages = tuple(_stage(item) for item in read.children("stages"))
    known = {stage.id for stage in stages}
    for stage in stages:
        for need in stage.needs or ():
            if need not in known:
                raise read.bad("stages", f"hold none called {need!r}, which {stage.id} needs")
    return PipelineSpec(
        id=read.text("id"),
        title=read.text("title"),
        stages=stages,
        description=read.text_or_none("description"),
        tags=read.texts("tags"),
        env=read.pairs("env"),
        cwd=read.text_or_none("cwd"),
        timeout_s=read.number_or_none("timeout_s"),
        group=read.text_or_none("group"),
        takes=tuple(_param(item) for item in read.children("takes")),
        hooks=read_hooks(read.children("hooks")),
        max_parallel=read.integer_or_none("max_parallel"),
    )


def _param(read: Fields) -> ParamSpec:
    return ParamSpec(
        name=read.text("name"),
        type=read.text("type"),
        choices=read.texts("choices"),
        default=read.text_or_none("default"),
        description=read.text_or_none("description"),
    )


def _stage(read: Fields) -> StageSpec:
    kind = read.text("kind")
    if kind not in tuple(StageKind):
        raise read.bad("kind", "must be 'command' or 'subpipeline'")
    return StageSpec(
        id=read.text("id"),
        title=read.text("title"),
        kind=StageKind(kind),
        command=read.command_or_none("command"),
        pipeline=read.text_or_none("pipeline"),
        params=read.pairs("params"),
        cwd=read.text_or_none("cwd"),
        env=read.pairs("env"),
        timeout_s=read.number_or_none("timeout_s"),
        allow_failure=read.flag("allow_failure"),
        success_exit_codes=read.integers("success_exit_codes"),
        summary_hint=read.text_or_none("summary_hint"),
        retries=_retries(read.child("retries")),
        needs=read.texts_or_none("needs"),
        uses=read.texts("uses"),
    )


def _retries(read: Fields) -> RetrySpec:
    return RetrySpec(
        attempts=read.integer("attempts"),
        delay_s=read.number("delay_s"),
        factor=read.number("factor"),
        max_delay_s=read.number("max_delay_s"),
        on_exit_codes=read.integers_or_none("on_exit_codes"),
    )


def _limits(read: Fields) -> Limits:
    return Limits(
        heartbeat_interval_s=read.number("heartbeat_interval_s"),
        heartbeat_stale_after_s=read.number("heartbeat_stale_after_s"),
        write_deadline_s=read.number("write_deadline_s"),
        stream_limit_bytes=read.integer("stream_limit_bytes"),
        error_detail_limit_bytes=read.integer("error_detail_limit_bytes"),
        error_file_limit_bytes=read.integer("error_file_limit_bytes"),
        grace_s=read.number("grace_s"),
    )


def load_spec(path: str) -> RunSpec:
    """Read a spec.json; errors as read_object and RunSpec.from_json."""
    return RunSpec.from_json(read_object(path), path)

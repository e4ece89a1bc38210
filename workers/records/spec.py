"""spec.json: the request of one run, resolved once and never changed.

The worker needs no other file. It holds the pipeline, every pipeline reachable from it as a
sub-pipeline, the limits, and the *names* of secret variables (never a value). Readers ignore keys
that they do not know; ``schema`` names the format.
"""

from collections.abc import Iterator
from dataclasses import field
from enum import StrEnum
from typing import Any, Final

from workers.records.dataclass import dataclass
from workers.records.files import read_object
from workers.records.hooks import HookSpec, due_hooks, read_hooks
from workers.records.ids import id_problem, is_run_id
from workers.records.json_reader import JsonReader, check_schema, read_record, to_plain
from workers.records.limits import PRIORITY_LIMIT, Limits
from workers.records.typed_errors import BadRecordError

SCHEMA: Final = "pipeline-supervisor/spec/1"
LIMIT_LEAST_BYTES, LIMIT_MOST_BYTES = 256, 1 << 30  # a smaller log has no room for its own marks
Pairs = tuple[tuple[str, str], ...]
Amounts = tuple[tuple[str, float], ...]


class StageKind(StrEnum):
    """What a stage runs, in the origin's terms."""

    COMMAND = "command"
    SUBPIPELINE = "subpipeline"


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrySpec:
    """When a failed stage is tried again.

    Attributes:
        attempts: number of tries including the first; 1 means no retry.
        delay_s: wait before the second try, in seconds.
        factor: each further wait is the previous one times this factor.
        max_delay_s: upper limit of a wait.
        on_exit_codes: retry only these exit codes; None means every failure.
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
        choices: the allowed values, as text; empty means any value of the type.
        default: the default value, as text; None means that the parameter is required.
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
        params: parameters of the sub-pipeline's run.
        cwd: relative to the root; None means the pipeline's.
        timeout_s: longest duration of one try; None means no limit.
        allow_failure: record a failure as ``skipped`` and continue the run.
        needs: stages that must have ended without failing before this one starts; None means the
            stage before, if no stage of the pipeline has ``needs``.
        uses: shared slots that the stage holds while it runs.
        nice: added to the niceness of its processes, 0 to 19; None means 0.
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
    nice: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineSpec:
    """An ordered list of stages.

    Attributes:
        timeout_s: longest duration of all stages together.
        group: default concurrency group of its runs.
        takes: the parameters that it declares.
        max_parallel: how many of its stages may run at once; None means no limit.
        resources: what a run takes of a host if an engine places it, by name, each more than 0;
            empty means the engine's default: one ``slot`` of Dask, one task of Slurm.
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
    resources: Amounts = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotSpec:
    """A kind of slot that all runs share, and how many there are."""

    name: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AfterSpec:
    """A dependency: a run that must have succeeded before this one starts."""

    run_id: str
    task_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptSpec:
    """A stage whose result is reused, and the run in which it succeeded."""

    stage: str
    run_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """One requested run.

    Attributes:
        pipeline: the pipeline with its parameters filled in.
        pipelines: every pipeline reachable through sub-pipeline stages, as written.
        params: the value of every parameter, as text, by name.
        parent_run_id: the run whose sub-pipeline stage requested this one.
        retry_of: the run that this one retries.
        kept: stages whose results are reused from earlier runs.
        batch: key of the batch that the run belongs to.
        batch_edition: digest of the batch file's content.
        priority: a higher one starts first; -1000 to 1000.
        group: the concurrency group that the run counts toward.
        after: dependencies.
        slots: shared slots that its stages and those of its sub-pipelines use.
        env: variables from ``--env``; they override those of the pipeline and of stages.
        launcher: "caller" if the process behind ``supervisor run`` hosts the run; None if the
            supervisor's launcher starts it.
        nested_in: the run of this root in one of whose stages ``supervisor run`` was called.
        asked_by: "start", "run", "submit", "retry" or "worker".
        asked_at: RFC 3339 UTC.
        resume_token: random hex, a field of the origin.
        secrets: names of environment variables whose values are masked in every record.
        hooks: those of the settings; none for a run that a stage requested.
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
    batch_edition: str | None = None
    priority: int = 0
    group: str | None = None
    after: tuple[AfterSpec, ...] = ()
    slots: tuple[SlotSpec, ...] = ()
    env: Pairs = ()
    launcher: str | None = None
    nested_in: str | None = None
    asked_by: str
    asked_at: str
    resume_token: str
    secrets: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    hooks: tuple[HookSpec, ...] = ()

    def hooks_due(self, status: str) -> tuple[HookSpec, ...]:
        """The hooks to start after a verdict with this status, in order."""
        return due_hooks(self.pipeline.hooks, self.hooks, status)

    def to_json(self) -> dict[str, Any]:
        """The content of spec.json."""
        return {"schema": SCHEMA, **to_plain(self)}


def load_spec(path: str) -> RunSpec:
    """Read a spec.json; raises as read_object and parse_spec."""
    return parse_spec(read_object(path), path)


def parse_spec(data: dict[str, Any], path: str) -> RunSpec:
    """Read the content of spec.json.

    Args:
        data: a JSON object.
        path: the file that it came from, for the error.

    Raises:
        BadRecordError: it is not a spec of this format; the error names the key.
    """
    check_schema(data, SCHEMA, path)
    read = JsonReader(data, path)
    spec = read_record(
        RunSpec,
        read,
        pipeline=read_pipeline(read.child("pipeline")),
        pipelines=tuple(read_pipeline(item) for item in read.children("pipelines")),
        priority=read.integer_or("priority", 0),
        limits=_limits(read.child("limits")),
        hooks=read_hooks(read.children("hooks")),
    )
    others = (*(item.run_id for item in spec.after), *(kept.run_id for kept in spec.kept))
    for run_id in (spec.run_id, spec.parent_run_id, spec.retry_of, spec.nested_in, *others):
        if run_id is not None and not is_run_id(run_id):
            raise BadRecordError(path=path, reason=f"{run_id!r} is no run id")
    if any(item.run_id == spec.run_id for item in spec.after):
        raise BadRecordError(path=path, reason="the run is to start after itself")
    ids = [spec.task_id, *(item.task_id for item in spec.after), *(s.name for s in spec.slots)]
    ids += [spec.group] if spec.group else []
    for pipeline in (spec.pipeline, *spec.pipelines):
        ids += [pipeline.id, *(stage.id for stage in pipeline.stages)]
    for name in ids:
        if problem := id_problem(name):
            raise BadRecordError(path=path, reason=f"the id {name!r} {problem}")
    return spec


def read_pipeline(read: JsonReader) -> PipelineSpec:
    """Read a pipeline of a record; raises BadRecordError if it is not one."""
    stages = tuple(_stage(item) for item in read.children("stages"))
    if not stages:
        raise read.bad("stages", "must not be empty")
    ids = {stage.id for stage in stages}
    for stage in stages:
        for need in stage.needs or ():
            if need not in ids:
                raise read.bad("stages", f"hold none called {need!r}, which {stage.id} needs")
    return read_record(PipelineSpec, read, stages=stages, hooks=read_hooks(read.children("hooks")))


def _stage(read: JsonReader) -> StageSpec:
    kind = read.text("kind")
    if kind not in tuple(StageKind):
        raise read.bad("kind", "must be 'command' or 'subpipeline'")
    return read_record(StageSpec, read, kind=StageKind(kind))


def _limits(read: JsonReader) -> Limits:
    limits = read_record(Limits, read)
    for name in Limits.__dataclass_fields__:
        if not getattr(limits, name) > 0:
            raise read.bad(name, "must be more than 0")
    return limits


def check_runnable(spec: RunSpec, path: str) -> None:
    """Check the numbers of a requested run; a configuration is checked before it is submitted.

    Args:
        spec: the run.
        path: the file that it came from, for the error.

    Raises:
        BadRecordError: a pipeline has no stages, or a number is out of range.
    """
    for problem in _problems(spec):
        raise BadRecordError(path=path, reason=f"run {spec.run_id}: {problem}")


def _problems(spec: RunSpec) -> Iterator[str]:
    for name in ("stream_limit_bytes", "error_detail_limit_bytes", "error_file_limit_bytes"):
        if not LIMIT_LEAST_BYTES <= getattr(spec.limits, name) <= LIMIT_MOST_BYTES:
            yield f"limits.{name} must be from {LIMIT_LEAST_BYTES} to {LIMIT_MOST_BYTES} bytes"
    if abs(spec.priority) > PRIORITY_LIMIT:
        yield f"priority must be from -{PRIORITY_LIMIT} to {PRIORITY_LIMIT}"
    for slot in spec.slots:
        if slot.count < 1:
            yield f"slot {slot.name} must have a count of at least 1"
    for pipeline in (spec.pipeline, *spec.pipelines):
        ids = [stage.id for stage in pipeline.stages]
        if len(ids) > len(set(ids)):
            yield f"pipeline {pipeline.id!r} has two stages with the same id"
        if pipeline.max_parallel is not None and pipeline.max_parallel < 1:
            yield f"pipeline {pipeline.id!r}: max_parallel must be at least 1"
        for stage in pipeline.stages:
            at = f"pipeline {pipeline.id!r}, stage {stage.id!r}"
            if not (stage.command if stage.kind is StageKind.COMMAND else stage.pipeline):
                yield f"{at} has no {stage.kind}"
            if stage.retries.attempts < 1:
                yield f"{at}: retries.attempts must be at least 1"

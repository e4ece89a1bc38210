"""Reading spec.json, and the pipelines of other records: each key typed, each id looked at."""

from typing import Any

from workers.records.files import read_object
from workers.records.hooks import read_hooks
from workers.records.ids import is_run_id, why_bad
from workers.records.json_reader import JsonReader, check_schema
from workers.records.limits import PRIORITY_LIMIT, Limits
from workers.records.spec import (
    SCHEMA,
    AfterSpec,
    KeptSpec,
    ParamSpec,
    PipelineSpec,
    RetrySpec,
    RunSpec,
    SlotSpec,
    StageKind,
    StageSpec,
)
from workers.records.typed_errors import BadRecordError

LIMIT_LEAST_BYTES, LIMIT_MOST_BYTES = 256, 1 << 30  # below it a log has no room for its own marks


def load_spec(path: str) -> RunSpec:
    """Read a spec.json; errors as read_object and spec_of."""
    return spec_of(read_object(path), path)


def spec_of(data: dict[str, Any], path: str) -> RunSpec:
    """Read the content of spec.json.

    Args:
        data: a JSON object.
        path: where it came from, for the error.

    Raises:
        BadRecordError: it is not a spec of this format; the error names the key.
    """
    check_schema(data, SCHEMA, path)
    read = JsonReader(data, path)
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
        batch_edition=read.text_or_none("batch_edition"),
        priority=read.integer_or("priority", 0),
        group=read.text_or_none("group"),
        after=tuple(_after(item) for item in read.children("after")),
        slots=tuple(_slot(item) for item in read.children("slots")),
        env=read.pairs("env"),
        launcher=read.text_or_none("launcher"),
        nested_in=read.text_or_none("nested_in"),
        asked_by=read.text("asked_by"),
        asked_at=read.text("asked_at"),
        resume_token=read.text("resume_token"),
        secrets=read.texts("secrets"),
        limits=_limits(read.child("limits")),
        hooks=read_hooks(read.children("hooks")),
    )
    named = (*(leader.run_id for leader in spec.after), *(kept.run_id for kept in spec.kept))
    for run_id in (spec.run_id, spec.parent_run_id, spec.retry_of, spec.nested_in, *named):
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


def check_fit(spec: RunSpec, path: str) -> None:
    """Check that a run which is asked for can be run at all; configuration is checked earlier.

    Args:
        spec: the run.
        path: where it came from, for the error.

    Raises:
        BadRecordError: a pipeline has no stages, or a number is outside its range.
    """

    def check(*, holds: bool, what: str) -> None:
        if not holds:
            raise BadRecordError(path=path, why=f"run {spec.run_id}: {what}")

    limits = spec.limits
    for name in ("heartbeat_interval_s", "heartbeat_stale_after_s", "write_deadline_s"):
        check(holds=getattr(limits, name) > 0, what=f"limits.{name} must be more than 0")
    for name in ("stream_limit_bytes", "error_detail_limit_bytes", "error_file_limit_bytes"):
        fits = LIMIT_LEAST_BYTES <= getattr(limits, name) <= LIMIT_MOST_BYTES
        bounds = f"from {LIMIT_LEAST_BYTES} to {LIMIT_MOST_BYTES}"
        check(holds=fits, what=f"limits.{name} must be {bounds} bytes")
    check(
        holds=abs(spec.priority) <= PRIORITY_LIMIT,
        what=f"priority must be from -{PRIORITY_LIMIT} to {PRIORITY_LIMIT}",
    )
    for slot in spec.slots:
        check(holds=slot.count >= 1, what=f"slot {slot.name} must have a count of at least 1")
    for pipeline in (spec.pipeline, *spec.pipelines):
        name = f"pipeline {pipeline.id!r}"
        check(holds=bool(pipeline.stages), what=f"{name} has no stages")
        ids = [stage.id for stage in pipeline.stages]
        check(holds=len(ids) == len(set(ids)), what=f"{name} has two stages with the same id")
        limit = pipeline.max_parallel
        check(holds=limit is None or limit >= 1, what=f"{name}: max_parallel must be at least 1")
        for stage in pipeline.stages:
            at = f"{name}, stage {stage.id!r}"
            given = stage.command if stage.kind is StageKind.COMMAND else stage.pipeline
            check(holds=bool(given), what=f"{at} has no {stage.kind}")
            tries = stage.retries.attempts
            check(holds=tries >= 1, what=f"{at}: retries.attempts must be at least 1")


def _kept(read: JsonReader) -> KeptSpec:
    return KeptSpec(stage=read.text("stage"), run_id=read.text("run_id"))


def _slot(read: JsonReader) -> SlotSpec:
    return SlotSpec(name=read.text("name"), count=read.integer("count"))


def _after(read: JsonReader) -> AfterSpec:
    return AfterSpec(run_id=read.text("run_id"), task_id=read.text("task_id"))


def read_pipeline(read: JsonReader) -> PipelineSpec:
    """Read a pipeline of a record; BadRecordError where it is none."""
    stages = tuple(_stage(item) for item in read.children("stages"))
    if not stages:
        raise read.bad("stages", "must not be empty")
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
        cwd=read.path_or_none("cwd"),
        timeout_s=read.number_or_none("timeout_s"),
        group=read.text_or_none("group"),
        takes=tuple(_param(item) for item in read.children("takes")),
        hooks=read_hooks(read.children("hooks")),
        max_parallel=read.integer_or_none("max_parallel"),
        resources=read.amounts("resources"),
    )


def _param(read: JsonReader) -> ParamSpec:
    return ParamSpec(
        name=read.text("name"),
        type=read.text("type"),
        choices=read.texts("choices"),
        default=read.text_or_none("default"),
        description=read.text_or_none("description"),
    )


def _stage(read: JsonReader) -> StageSpec:
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
        cwd=read.path_or_none("cwd"),
        env=read.pairs("env"),
        timeout_s=read.number_or_none("timeout_s"),
        allow_failure=read.flag("allow_failure"),
        success_exit_codes=read.integers("success_exit_codes"),
        summary_hint=read.text_or_none("summary_hint"),
        retries=_retries(read.child("retries")),
        needs=read.texts_or_none("needs"),
        uses=read.texts("uses"),
    )


def _retries(read: JsonReader) -> RetrySpec:
    return RetrySpec(
        attempts=read.integer("attempts"),
        delay_s=read.number("delay_s"),
        factor=read.number("factor"),
        max_delay_s=read.number("max_delay_s"),
        on_exit_codes=read.integers_or_none("on_exit_codes"),
    )


def _limits(read: JsonReader) -> Limits:
    limits = Limits(
        heartbeat_interval_s=read.number("heartbeat_interval_s"),
        heartbeat_stale_after_s=read.number("heartbeat_stale_after_s"),
        write_deadline_s=read.number("write_deadline_s"),
        stream_limit_bytes=read.integer("stream_limit_bytes"),
        error_detail_limit_bytes=read.integer("error_detail_limit_bytes"),
        error_file_limit_bytes=read.integer("error_file_limit_bytes"),
        grace_s=read.number("grace_s"),
    )
    for name in Limits.__dataclass_fields__:
        if not getattr(limits, name) > 0:
            raise read.bad(name, "must be more than 0")
    return limits

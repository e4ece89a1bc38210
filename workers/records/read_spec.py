"""Reading spec.json, and the pipelines of other records: each key typed, each id looked at."""

from typing import Any

from workers.records.files import read_object
from workers.records.hooks import read_hooks
from workers.records.ids import id_problem, is_run_id
from workers.records.json_reader import JsonReader, check_schema, read_record
from workers.records.limits import PRIORITY_LIMIT, Limits
from workers.records.spec import SCHEMA, PipelineSpec, RunSpec, StageKind, StageSpec
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
    spec = read_record(
        RunSpec,
        read,
        pipeline=read_pipeline(read.child("pipeline")),
        pipelines=tuple(read_pipeline(item) for item in read.children("pipelines")),
        priority=read.integer_or("priority", 0),
        limits=_limits(read.child("limits")),
        hooks=read_hooks(read.children("hooks")),
    )
    named = (*(leader.run_id for leader in spec.after), *(kept.run_id for kept in spec.kept))
    for run_id in (spec.run_id, spec.parent_run_id, spec.retry_of, spec.nested_in, *named):
        if run_id is not None and not is_run_id(run_id):
            raise BadRecordError(path=path, reason=f"{run_id!r} is no run id")
    if any(leader.run_id == spec.run_id for leader in spec.after):
        raise BadRecordError(path=path, reason="the run is to start after itself")
    pipelines = (spec.pipeline, *spec.pipelines)
    stages = (stage.id for pipeline in pipelines for stage in pipeline.stages)
    others = (
        *(leader.task_id for leader in spec.after),
        *((spec.group,) if spec.group else ()),
        *(slot.name for slot in spec.slots),
    )
    for name in (spec.task_id, *(pipeline.id for pipeline in pipelines), *stages, *others):
        if id_problem(name):
            raise BadRecordError(path=path, reason=f"the id {name!r} {id_problem(name)}")
    return spec


def check_runnable(spec: RunSpec, path: str) -> None:
    """Check that a run which is asked for can be run at all; configuration is checked earlier.

    Args:
        spec: the run.
        path: where it came from, for the error.

    Raises:
        BadRecordError: a pipeline has no stages, or a number is outside its range.
    """

    def check(*, holds: bool, what: str) -> None:
        if not holds:
            raise BadRecordError(path=path, reason=f"run {spec.run_id}: {what}")

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

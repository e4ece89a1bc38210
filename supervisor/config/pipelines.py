"""Pipelines: from what was written to what a worker runs, with their references followed."""

from collections.abc import Mapping
from typing import TypeVar

from pydantic import ValidationError

from supervisor.config.config_files import read_toml
from supervisor.config.hook_specs import hook_specs
from supervisor.config.models import KEYS, ConfigFile, ParamTable, Pipeline, Stage, Strict
from supervisor.config.param_values import text_of
from supervisor.config.references import references_wrong
from supervisor.config.validation_errors import problems_of
from supervisor.errors import ConfigError
from workers.records.spec import ParamSpec, PipelineSpec, RetrySpec, StageKind, StageSpec

Model = TypeVar("Model", bound=Strict)


def parse(model: type[Model], data: Mapping[str, object], path: str) -> Model:
    """Check a file's content; ConfigError with everything that is wrong."""
    try:
        return model.model_validate(dict(data))
    except ValidationError as error:
        raise ConfigError(problems=problems_of(error, path, "", KEYS)) from None


def pipelines_of_file(path: str) -> dict[str, PipelineSpec]:
    """The pipelines of a configuration file."""
    data = read_toml(path)
    try:
        config = parse(ConfigFile, data, path)
    except ConfigError as error:
        bare = _bare(data.get("pipelines"))
        more = references_wrong(bare, dict.fromkeys(bare, path))
        raise ConfigError(problems=[*error.problems, *more]) from None
    return {name: pipeline_spec(name, item) for name, item in config.pipelines.items()}


def _bare(tables: object) -> dict[str, PipelineSpec]:
    """The references alone, so that they are checked also where something else is wrong."""
    found: dict[str, PipelineSpec] = {}
    for name, table in tables.items() if isinstance(tables, dict) else ():
        stages = table.get("stages") if isinstance(table, dict) else None
        targets = [
            stage.get("pipeline") if isinstance(stage, dict) else None
            for stage in (stages if isinstance(stages, list) else ())
        ]
        specs = (
            StageSpec(id="", title="", pipeline=target if isinstance(target, str) else None)
            for target in targets
        )
        found[name] = PipelineSpec(id=name, title="", stages=tuple(specs))
    return found


def pipeline_spec(pipeline_id: str, item: Pipeline) -> PipelineSpec:
    """What a worker runs."""
    return PipelineSpec(
        id=pipeline_id,
        title=item.title or pipeline_id,
        description=item.description,
        tags=tuple(item.tags),
        env=tuple(item.env.items()),
        cwd=item.cwd,
        timeout_s=item.timeout_s,
        hooks=hook_specs(item.on_success, item.on_failure, item.on_finish),
        stages=tuple(_stage(stage) for stage in item.stages),
        group=item.group,
        takes=tuple(_param(name, table) for name, table in item.params.items()),
        max_parallel=item.max_parallel,
        resources=tuple(item.resources.items()),
    )


def _param(name: str, item: ParamTable) -> ParamSpec:
    return ParamSpec(
        name=name,
        type=item.type,
        choices=tuple(text_of(item.type, value) or "" for value in item.choices or ()),
        default=None if item.default is None else text_of(item.type, item.default),
        description=item.description,
    )


def _said(value: object) -> str:
    """What a stage gives its sub-pipeline, as text: it may name a param of its own pipeline."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _stage(item: Stage) -> StageSpec:
    command = tuple(item.command) if isinstance(item.command, list) else item.command
    retries = RetrySpec()
    if item.retries is not None:
        codes = item.retries.on_exit_codes
        retries = RetrySpec(
            attempts=item.retries.attempts,
            delay_s=item.retries.delay_s,
            factor=item.retries.factor,
            max_delay_s=item.retries.max_delay_s,
            on_exit_codes=None if codes is None else tuple(codes),
        )
    return StageSpec(
        id=item.id,
        title=item.title or item.id,
        kind=StageKind.COMMAND if item.pipeline is None else StageKind.SUBPIPELINE,
        command=command,
        pipeline=item.pipeline,
        params=tuple((name, _said(value)) for name, value in item.params.items()),
        cwd=item.cwd,
        env=tuple(item.env.items()),
        timeout_s=item.timeout_s,
        allow_failure=item.allow_failure or item.optional,
        success_exit_codes=tuple(item.success_exit_codes),
        summary_hint=item.summary_hint,
        retries=retries,
        needs=None if item.needs is None else tuple(item.needs),
        uses=tuple(item.uses),
    )

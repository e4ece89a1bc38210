"""Pipelines: from what was written to what a worker runs, with their references followed."""

from collections.abc import Mapping
from typing import Any, TypeVar

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
    """What a worker runs. Keys and fields of the same name are copied."""
    return PipelineSpec(
        **_shared(item, PipelineSpec)
        | {
            "id": pipeline_id,
            "title": item.title or pipeline_id,
            "hooks": hook_specs(item.on_success, item.on_failure, item.on_finish),
            "stages": tuple(_stage(stage) for stage in item.stages),
            "takes": tuple(_param(name, table) for name, table in item.params.items()),
        }
    )


def _stage(item: Stage) -> StageSpec:
    return StageSpec(
        **_shared(item, StageSpec)
        | {
            "title": item.title or item.id,
            "kind": StageKind.COMMAND if item.pipeline is None else StageKind.SUBPIPELINE,
            "params": tuple((name, _written(value)) for name, value in item.params.items()),
            "allow_failure": item.allow_failure or item.optional,
            "retries": RetrySpec(**_shared(item.retries, RetrySpec) if item.retries else {}),
        }
    )


def _param(name: str, item: ParamTable) -> ParamSpec:
    return ParamSpec(
        name=name,
        type=item.type,
        choices=tuple(text_of(item.type, value) or "" for value in item.choices or ()),
        default=None if item.default is None else text_of(item.type, item.default),
        description=item.description,
    )


def _shared(item: Strict, spec: type) -> dict[str, Any]:
    """The keys of a model that a spec has, too; lists become tuples, tables become pairs."""
    fields = spec.__dict__["__dataclass_fields__"]
    return {name: _frozen(value) for name, value in item if name in fields}


def _frozen(value: object) -> object:
    if isinstance(value, dict):
        return tuple(value.items())
    return tuple(value) if isinstance(value, list) else value


def _written(value: object) -> str:
    """A stage's parameter for its sub-pipeline, as text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)

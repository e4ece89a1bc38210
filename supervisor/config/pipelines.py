"""Pipelines of a configuration file: checked, and turned into what a worker runs."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from supervisor.config.config_files import read_toml
from supervisor.config.models import KEYS, ConfigFile, ParamTable, Pipeline, Stage, Strict
from supervisor.config.param_values import text_of
from supervisor.config.references import reference_problems
from supervisor.config.settings import hooks_of
from supervisor.config.validation_errors import problems_of
from supervisor.errors import ConfigError
from workers.records.spec import ParamSpec, PipelineSpec, RetrySpec, StageKind, StageSpec

Model = TypeVar("Model", bound=Strict)


def parse(model: type[Model], data: Mapping[str, object], path: str) -> Model:
    """Check the content of a file; ConfigError with every problem."""
    try:
        return model.model_validate(dict(data))
    except ValidationError as error:
        raise ConfigError(problems=problems_of(error, path, "", KEYS)) from None


def pipelines_of_file(path: str) -> dict[str, PipelineSpec]:
    """Read the pipelines of a configuration file; ConfigError with every problem."""
    data = read_toml(path)
    try:
        config = parse(ConfigFile, data, path)
    except ConfigError as error:
        bare = _references_only(data.get("pipelines"))
        more = reference_problems(bare, dict.fromkeys(bare, path))
        raise ConfigError(problems=[*error.problems, *more]) from None
    return {name: pipeline_spec(name, item) for name, item in config.pipelines.items()}


def _references_only(tables: object) -> dict[str, PipelineSpec]:
    """Pipelines with their references alone, which are checked even if other keys are wrong."""
    pipelines: dict[str, PipelineSpec] = {}
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
        pipelines[name] = PipelineSpec(id=name, title="", stages=tuple(specs))
    return pipelines


def pipeline_spec(pipeline_id: str, item: Pipeline) -> PipelineSpec:
    """A pipeline as a worker runs it. Keys are copied to the fields of the same name."""
    return PipelineSpec(
        **_shared(item, PipelineSpec)
        | {
            "id": pipeline_id,
            "title": item.title or pipeline_id,
            "hooks": hooks_of(item),
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

"""The origin's ``codex.orchestrator.json``.

Pipelines are a list, stages may refer to named sets of stages, ``timeoutMs`` is in milliseconds,
and a stage that may fail has ``allowFailure`` or ``optional``. Keys of other parts of that product
are ignored, with one notice that names them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from supervisor.config.config_files import read_json
from supervisor.config.models import FilledText, Id, Text
from supervisor.config.validation_errors import problems_of
from supervisor.errors import ConfigError, Problem
from workers.records.spec import PipelineSpec, StageKind, StageSpec


class _Loose(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


def _plain_values(value: dict[str, Any]) -> dict[str, str]:
    """Node.js turns numbers and booleans of an environment into strings."""
    texts = {}
    for name, item in value.items():
        if not name or "=" in name or "\0" in name:
            raise ValueError(f"{name!r} cannot be the name of an environment variable")
        if isinstance(item, bool):
            item = "true" if item else "false"
        if not isinstance(item, str | int | float) or "\0" in str(item):
            raise ValueError(f"the value of {name} must be a string")
        texts[name] = str(item)
    return texts


class _Command(_Loose):
    kind: Literal["command"]
    id: Id
    title: Text | None = None
    command: FilledText
    cwd: Text | None = None
    env: Annotated[dict[str, Any], AfterValidator(_plain_values)] = {}
    timeoutMs: float | None = Field(None, gt=0, le=365 * 86_400_000.0, allow_inf_nan=False)
    allowFailure: bool = False
    summaryHint: Text | None = None


class _Sub(_Loose):
    kind: Literal["subpipeline"]
    id: Id
    title: Text | None = None
    pipeline: Id
    optional: bool = False


class _SetRef(_Loose):
    kind: Literal["stage-set"]
    ref: str


_Stage = Annotated[_Command | _Sub, Field(discriminator="kind")]
_AnyStage = Annotated[_Command | _Sub | _SetRef, Field(discriminator="kind")]


class _Pipeline(_Loose):
    id: Id
    title: Text | None = None
    description: Text | None = None
    tags: list[Text] = []
    stages: list[_AnyStage] = Field(min_length=1)


class _File(_Loose):
    defaultPipeline: Id | None = None
    pipelines: list[_Pipeline]
    stageSets: dict[str, list[_Stage]] = {}


def read_origin(path: str) -> tuple[dict[str, PipelineSpec], str | None, tuple[str, ...]]:
    """Read a file of the origin.

    Returns:
        Pipelines by id, the default one's id, and notices for the operator.

    Raises:
        ConfigError: every problem.
    """
    from pydantic import ValidationError

    data = read_json(path)
    try:
        config = _File.model_validate(data)
    except ValidationError as error:
        keys = {key for model in (_File, _Pipeline, _Command, _Sub) for key in model.model_fields}
        raise ConfigError(problems=problems_of(error, path, "", keys)) from None
    problems: list[Problem] = []
    pipelines: dict[str, PipelineSpec] = {}
    for index, item in enumerate(config.pipelines):
        if item.id in pipelines:
            text = f"two pipelines are called {item.id!r}"
            problems.append(Problem(path, f"pipelines[{index}].id", text))
        stages, wrong = _expand(item.stages, config.stageSets, path, f"pipelines[{index}].stages")
        problems += wrong
        pipelines[item.id] = PipelineSpec(
            id=item.id,
            title=item.title or item.id,
            description=item.description,
            tags=tuple(item.tags),
            stages=tuple(stages),
        )
    if problems:
        raise ConfigError(problems=problems)
    return pipelines, config.defaultPipeline, _notices(path, data)


def _expand(
    items: Iterable[_Command | _Sub | _SetRef],
    sets: Mapping[str, list[_Command | _Sub]],
    path: str,
    at: str,
) -> tuple[list[StageSpec], list[Problem]]:
    stages: list[StageSpec] = []
    problems = []
    for index, item in enumerate(items):
        if not isinstance(item, _SetRef):
            stages.append(_stage(item))
        elif item.ref in sets:
            stages += [_stage(stage) for stage in sets[item.ref]]
        else:
            text = f"there is no stage set {item.ref!r}; there are: {', '.join(sorted(sets))}"
            problems.append(Problem(path, f"{at}[{index}].ref", text))
    return _distinct(stages), problems


def _distinct(stages: list[StageSpec]) -> list[StageSpec]:
    """Give stages with the same id different ones; the origin allows it, our files do not."""
    seen: dict[str, int] = {}
    distinct = []
    for stage in stages:
        number = seen.get(stage.id.lower(), 0) + 1
        seen[stage.id.lower()] = number
        distinct.append(stage if number == 1 else replace(stage, id=f"{stage.id[:90]}-{number}"))
    return distinct


def _stage(item: _Command | _Sub) -> StageSpec:
    if isinstance(item, _Sub):
        return StageSpec(
            id=item.id,
            title=item.title or item.id,
            kind=StageKind.SUBPIPELINE,
            pipeline=item.pipeline,
            allow_failure=item.optional,
        )
    return StageSpec(
        id=item.id,
        title=item.title or item.id,
        command=item.command,
        cwd=item.cwd or None,
        env=tuple(item.env.items()),
        timeout_s=None if item.timeoutMs is None else item.timeoutMs / 1000,
        allow_failure=item.allowFailure,
        summary_hint=item.summaryHint,
    )


def _notices(path: str, data: Mapping[str, Any]) -> tuple[str, ...]:
    """One line that names the ignored keys."""
    ignored = set(data) - set(_File.model_fields)
    stages = [stage for items in (data.get("stageSets") or {}).values() for stage in items]
    for pipeline in data["pipelines"]:
        ignored |= set(pipeline) - set(_Pipeline.model_fields)
        stages += pipeline["stages"]
    ours = set(_Command.model_fields) | set(_Sub.model_fields) | set(_SetRef.model_fields)
    for stage in stages:
        ignored |= set(stage) - ours
    if not ignored:
        return ()
    return (f"{path}: keys of other parts of the origin are ignored: {', '.join(sorted(ignored))}",)

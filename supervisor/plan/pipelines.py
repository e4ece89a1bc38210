"""Pipelines: from what was written to what a worker runs, with their references followed."""

from collections.abc import Iterable, Mapping
from typing import TypeVar

from pydantic import ValidationError

from supervisor.errors import ConfigError, Problem
from supervisor.plan.needs import needs_wrong
from supervisor.plan.params import text_of
from supervisor.plan.problems import near, problems_of
from supervisor.plan.schema import KEYS, ConfigFile, ParamTable, Pipeline, Stage, Strict
from supervisor.plan.sources import read_toml
from workers.records.hooks import HookEvent, HookSpec
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


def hook_specs(*commands: str | list[str] | None) -> tuple[HookSpec, ...]:
    """The hooks that were written, in the order of HookEvent; None where none was."""
    return tuple(
        HookSpec(on=event, command=tuple(command) if isinstance(command, list) else command)
        for event, command in zip(HookEvent, commands, strict=True)
        if command is not None
    )


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


def references_wrong(
    pipelines: Mapping[str, PipelineSpec], places: Mapping[str, str]
) -> list[Problem]:
    """Names that lead nowhere or in a circle, and ids that are one file name when case is ignored.

    Args:
        pipelines: all that can be referred to.
        places: for each id the file that defines it.
    """
    problems = []
    seen: dict[str, str] = {}
    for name in pipelines:
        other = seen.setdefault(name.lower(), name)
        if other != name:
            text = f"is the same as {other!r} where case is ignored; rename one"
            problems.append(Problem(places[name], f"pipelines.{name}", text))
    for name, pipeline in pipelines.items():
        for index, stage in enumerate(pipeline.stages):
            if stage.pipeline is not None and stage.pipeline not in pipelines:
                at = f"pipelines.{name}.stages[{index}].pipeline"
                problems.append(Problem(places[name], at, unknown(stage.pipeline, pipelines)))
        for place, text in needs_wrong(pipeline):
            problems.append(Problem(places[name], f"pipelines.{name}.{place}", text))
    circle = _circle(pipelines)
    if circle:
        text = f"reaches itself: {' -> '.join(circle)}"
        problems.append(Problem(places[circle[0]], f"pipelines.{circle[0]}", text))
    return problems


def unknown(name: str, known: Iterable[str]) -> str:
    """Why a pipeline cannot be meant."""
    known = sorted(known)
    hint = near(name, known)
    if hint is not None:
        return f"there is no pipeline {name!r}; did you mean {hint!r}?"
    listed = f"; there are: {', '.join(known)}" if known else "; none is configured"
    return f"there is no pipeline {name!r}{listed}"


def _circle(pipelines: Mapping[str, PipelineSpec]) -> list[str]:
    """One circle of sub-pipelines, empty where there is none. Iterative: depth is no limit."""
    done: set[str] = set()
    for start in pipelines:
        path: list[str] = []
        todo: list[tuple[str, bool]] = [(start, False)]
        while todo:
            name, leaving = todo.pop()
            if leaving:
                path.pop()
                done.add(name)
                continue
            if name in path:
                return [*path[path.index(name) :], name]
            if name in done or name not in pipelines:
                continue
            path.append(name)
            todo.append((name, True))
            todo += [(s.pipeline, False) for s in pipelines[name].stages if s.pipeline]
    return []


def reachable(
    pipelines: Mapping[str, PipelineSpec], pipeline: PipelineSpec
) -> tuple[PipelineSpec, ...]:
    """Every pipeline that a pipeline's stages can lead to, itself not included."""
    found: dict[str, PipelineSpec] = {}
    todo = [pipeline]
    while todo:
        for stage in todo.pop().stages:
            if stage.pipeline is not None and stage.pipeline not in found:
                found[stage.pipeline] = pipelines[stage.pipeline]
                todo.append(pipelines[stage.pipeline])
    return tuple(found.values())

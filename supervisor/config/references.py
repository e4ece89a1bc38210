"""What pipelines refer to: names that lead nowhere or in a circle, and what can be reached."""

from collections.abc import Iterable, Mapping

from supervisor.config.stage_needs import needs_wrong
from supervisor.config.suggest import mend
from supervisor.errors import Problem
from workers.records.spec import PipelineSpec


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
    return f"there is no pipeline {name!r}; {mend(name, known, none='none is configured')}"


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

"""Names that pipelines and batches refer to: pipelines, stages, groups and slots that must exist.

A group or a slot exists if ``[supervisor.groups]`` or ``[supervisor.slots]`` declares its number.
"""

from collections.abc import Iterable, Iterator, Mapping

from supervisor.config.suggest import unknown_name
from supervisor.errors import Problem
from workers.records.spec import PipelineSpec


def unknown_pipeline(name: str, known: Iterable[str]) -> str:
    """The message for a pipeline that does not exist."""
    return unknown_name("pipeline", name, known, none="none is configured")


def unknown_group(name: str, known: Iterable[str]) -> str:
    """The message for a group that does not exist."""
    return unknown_name("group", name, known, none="[supervisor.groups] declares none")


def reference_problems(
    pipelines: Mapping[str, PipelineSpec], places: Mapping[str, str]
) -> list[Problem]:
    """Check names of pipelines and stages, circles of them, and ids that differ only in case.

    Args:
        pipelines: every pipeline that can be referred to.
        places: for each id the file that defines it.
    """
    problems = []
    seen: dict[str, str] = {}
    for name in pipelines:
        other = seen.setdefault(name.lower(), name)
        if other != name:
            text = f"is the same as {other!r} if case is ignored; rename one"
            problems.append(Problem(places[name], f"pipelines.{name}", text))
    for name, pipeline in pipelines.items():
        for index, stage in enumerate(pipeline.stages):
            if stage.pipeline is not None and stage.pipeline not in pipelines:
                at = f"pipelines.{name}.stages[{index}].pipeline"
                text = unknown_pipeline(stage.pipeline, pipelines)
                problems.append(Problem(places[name], at, text))
        for place, text in _need_problems(pipeline):
            problems.append(Problem(places[name], f"pipelines.{name}.{place}", text))
    circle = _circle(pipelines)
    if circle:
        text = f"reaches itself: {' -> '.join(circle)}"
        problems.append(Problem(places[circle[0]], f"pipelines.{circle[0]}", text))
    return problems


def _need_problems(pipeline: PipelineSpec) -> Iterator[tuple[str, str]]:
    """Check the needs of a pipeline's stages: the key path below the pipeline, and a message."""
    import graphlib  # only those who check a configuration need it

    known = dict.fromkeys(stage.id for stage in pipeline.stages)
    for index, stage in enumerate(pipeline.stages):
        for place, need in enumerate(stage.needs or ()):
            if need not in known:
                yield f"stages[{index}].needs[{place}]", unknown_name("stage", need, known)
    order = graphlib.TopologicalSorter({s.id: s.needs or () for s in pipeline.stages})
    try:
        order.prepare()
    except graphlib.CycleError as error:
        yield "stages", f"need each other in a circle: {' -> '.join(reversed(error.args[1]))}"


def _circle(pipelines: Mapping[str, PipelineSpec]) -> list[str]:
    """One circle of sub-pipelines, empty if there is none. Iterative: depth is no limit."""
    done: set[str] = set()
    for start in pipelines:
        path: list[str] = []
        todo: list[tuple[str, bool]] = [(start, False)]
        while todo:
            name, is_done = todo.pop()
            if is_done:
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


def declared_problems(
    pipelines: Mapping[str, PipelineSpec],
    places: Mapping[str, str],
    *,
    groups: Mapping[str, int],
    slots: Mapping[str, int],
) -> Iterator[Problem]:
    """Check that the settings declare every group and slot that a pipeline names."""
    for name, pipeline in pipelines.items():
        at = f"pipelines.{name}"
        if pipeline.group is not None and pipeline.group not in groups:
            yield Problem(places[name], f"{at}.group", unknown_group(pipeline.group, groups))
        for index, stage in enumerate(pipeline.stages):
            for used in stage.uses:
                if used not in slots:
                    none = "[supervisor.slots] declares none"
                    text = unknown_name("slot", used, slots, none=none)
                    yield Problem(places[name], f"{at}.stages[{index}].uses", text)


def reachable(
    pipelines: Mapping[str, PipelineSpec], pipeline: PipelineSpec
) -> tuple[PipelineSpec, ...]:
    """Every pipeline that the stages of a pipeline can reach, without the pipeline itself."""
    reached: dict[str, PipelineSpec] = {}
    todo = [pipeline]
    while todo:
        for stage in todo.pop().stages:
            if stage.pipeline is not None and stage.pipeline not in reached:
                reached[stage.pipeline] = pipelines[stage.pipeline]
                todo.append(pipelines[stage.pipeline])
    return tuple(reached.values())

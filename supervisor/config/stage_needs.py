"""What stages need and use: names that lead nowhere, or in a circle."""

from collections.abc import Iterator, Mapping

from supervisor.config.suggest import mend
from supervisor.errors import Problem
from workers.records.spec import PipelineSpec


def needs_wrong(pipeline: PipelineSpec) -> Iterator[tuple[str, str]]:
    """What is wrong with the needs of a pipeline's stages: where, below it, and what."""
    known = dict.fromkeys(stage.id for stage in pipeline.stages)
    for index, stage in enumerate(pipeline.stages):
        for place, need in enumerate(stage.needs or ()):
            if need not in known:
                told = mend(need, known, none="")
                text = f"there is no stage {need!r} in this pipeline; {told}"
                yield f"stages[{index}].needs[{place}]", text
    import graphlib  # for who writes or reads configuration, not for who uses it

    order = graphlib.TopologicalSorter({s.id: s.needs or () for s in pipeline.stages})
    try:
        order.prepare()
    except graphlib.CycleError as error:
        yield "stages", f"need each other in a circle: {' -> '.join(reversed(error.args[1]))}"


def uses_wrong(
    pipelines: Mapping[str, PipelineSpec], places: Mapping[str, str], slots: Mapping[str, int]
) -> Iterator[Problem]:
    """The slots that stages use and no setting declares."""
    for name, pipeline in pipelines.items():
        for index, stage in enumerate(pipeline.stages):
            for used in stage.uses:
                if used not in slots:
                    told = mend(used, slots, none="[supervisor.slots] declares none")
                    at = f"pipelines.{name}.stages[{index}].uses"
                    yield Problem(places[name], at, f"there is no slot {used!r}; {told}")

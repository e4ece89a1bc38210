"""What the stages of a run inherit and are given: names of variables, never a value."""

from workers.records.placement import CALLER
from workers.records.spec import PipelineSpec, RunSpec


def environment_sources(spec: RunSpec) -> str:
    """Say in one line where the environment of a run's stages comes from."""
    base = "the caller's" if spec.launcher == CALLER else "the supervisor's"
    parts = [base]
    given = [name for name, _ in spec.env]
    if written := [name for name in names_in(spec.pipeline) if name not in given]:
        parts.append(f"{', '.join(written)} (pipeline)")
    if given:
        parts.append(f"{', '.join(given)} (--env)")
    return "; ".join(parts)


def names_in(pipeline: PipelineSpec) -> list[str]:
    """The variables that a pipeline or a stage of it sets, each once."""
    pairs = [*pipeline.env, *(pair for stage in pipeline.stages for pair in stage.env)]
    return list(dict.fromkeys(name for name, _ in pairs))

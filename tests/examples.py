"""Ready-made values for tests."""

from typing import Any

from workers.records.limits import Limits
from workers.records.spec import PipelineSpec, RetrySpec, RunSpec, StageKind, StageSpec

RUN_ID = "2025-10-31T22-56-34-431Z-9574035c"


def stage(stage_id: str = "lint", **values: Any) -> StageSpec:
    values.setdefault("command", ("true",))
    return StageSpec(id=stage_id, title=stage_id.title(), **values)


def run_spec(**values: Any) -> RunSpec:
    lint = stage(
        "lint",
        env=(("A", "1"),),
        timeout_s=5.0,
        retries=RetrySpec(attempts=2, on_exit_codes=(1, 2)),
    )
    docs = stage("docs", command=None, pipeline="docs", kind=StageKind.SUBPIPELINE)
    pipeline = PipelineSpec(id="diagnostics", title="Diagnostics", stages=(lint, docs))
    defaults: dict[str, Any] = {
        "run_id": RUN_ID,
        "task_id": "0202-x",
        "pipeline": pipeline,
        "pipelines": (PipelineSpec(id="docs", title="Docs", stages=(stage("build"),)),),
        "asked_by": "start",
        "asked_at": "2025-10-31T22:56:34.431Z",
        "resume_token": "00ff",
        "limits": Limits(heartbeat_interval_s=0.1),
    }
    return RunSpec(**{**defaults, **values})

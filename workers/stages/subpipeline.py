"""A sub-pipeline stage, told to the journal like a command."""

import time
from typing import Any

from workers.records.journal import Event
from workers.records.spec import PipelineSpec, StageSpec
from workers.records.typed_errors import TypedError
from workers.stages.child_run import ChildResult, ChildRun, child_spec
from workers.stages.outcome import StageOutcome
from workers.stages.scheduler import StageTask
from workers.stages.stage_context import Recorder, StageContext
from workers.stages.try_result import TryResult, stage_facts
from workers.stages.try_runner import ProcessResult


class SubpipelineStage:
    """Runs one sub-pipeline stage.

    Args:
        bench: the run.
        recorder: writes the facts.
        index: the stage's place, from 1.
        stage: which pipeline.
    """

    def __init__(
        self, bench: StageContext, recorder: Recorder, index: int, stage: StageSpec
    ) -> None:
        self._bench = bench
        self._recorder = recorder
        self._stage = stage
        self._about: dict[str, Any] = {"stage": stage.id, "index": index}

    def run(self, pipeline_deadline: float | None) -> StageTask[StageOutcome]:
        """Run the stage.

        Args:
            pipeline_deadline: when the whole pipeline is timed out, on the monotonic clock.
        """
        began = time.monotonic()
        own = None if self._stage.timeout_s is None else began + self._stage.timeout_s
        deadline = min((d for d in (own, pipeline_deadline) if d is not None), default=None)
        self._recorder.fact(Event.STAGE_STARTED, {**self._about, "try": 1}, flush=False)
        pipelines = self._bench.spec.pipelines
        pipeline = next((p for p in pipelines if p.id == self._stage.pipeline), None)
        if pipeline is None:
            message = f"the spec holds no pipeline {self._stage.pipeline!r}"
            return self._finish(began, "internal-error", message)
        ending, message = yield from self._child(pipeline, deadline)
        if ending is None:
            return self._finish(began, "spawn-failed", message)
        reason = ending.reason
        if reason is None and ending.status != "succeeded":
            reason = "subpipeline-failed"
        late = reason == "timed-out" and deadline == pipeline_deadline
        return self._finish(began, reason, message, late=late)

    def _child(
        self, pipeline: PipelineSpec, deadline: float | None
    ) -> StageTask[tuple[ChildResult | None, str]]:
        """Run it; the ending is None where it could not be asked for."""
        bench = self._bench
        spec = child_spec(bench.spec, self._stage, pipeline)
        link = {**self._about, "pipeline": pipeline.id, "sub_run_id": spec.run_id}
        self._recorder.fact(Event.CHILD_STARTED, link)  # on disk before anybody can start it
        child = ChildRun(bench.layout, spec, bench.control)
        try:
            if bench.host is not None:
                bench.host.host(bench.layout, bench.layout.run_dir(spec.task_id, spec.run_id))
            yield from child.ask(deadline_mono_s=deadline)
        except (OSError, TypedError) as error:
            self._recorder.fact(Event.CHILD_ENDED, {**link, "status": "failed"}, flush=False)
            return None, f"sub-pipeline {pipeline.id}: it could not be asked for: {error}"
        ending = yield from child.wait(deadline_mono_s=deadline, grace_s=bench.spec.limits.grace_s)
        self._recorder.fact(Event.CHILD_ENDED, {**link, "status": ending.status}, flush=False)
        words = ending.status.replace("_", " ")
        return ending, f"sub-pipeline {pipeline.id} {words} (run {spec.run_id})"

    def broken(self, message: str) -> None:
        """Tell that something of ours broke while this stage was on."""
        self._finish(time.monotonic(), "internal-error", message, late=True)

    def _finish(
        self, began: float, reason: str | None, message: str, *, late: bool = False
    ) -> StageOutcome:
        stage = self._stage
        if reason is None:
            status = "succeeded"
        elif stage.allow_failure and reason != "cancelled" and not late:
            status = "skipped"
        else:
            status = "failed"
        ending = ProcessResult(duration_s=round(time.monotonic() - began, 3))
        tried = TryResult(about={**self._about, "try": 1}, ending=ending, reason=reason)
        summary = stage.summary_hint if reason is None else message
        facts = stage_facts(tried, status, summary=summary)
        self._recorder.fact(Event.STAGE_ENDED, facts)
        return StageOutcome(
            status=status,
            reason=reason,
            message=None if reason is None else f"{stage.id}: {message}",
            ended_pipeline=late,
        )

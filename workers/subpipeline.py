"""A sub-pipeline stage, told to the journal like a command."""

import time
from typing import Any

from workers.child import ChildEnding, ChildRun, child_spec
from workers.outcome import StageOutcome
from workers.recorder import Bench, Recorder
from workers.records.journal import Event
from workers.records.spec import StageSpec


class SubpipelineStage:
    """Runs one sub-pipeline stage.

    Args:
        bench: the run.
        recorder: writes the facts.
        index: the stage's place, from 1.
        stage: which pipeline.
    """

    def __init__(self, bench: Bench, recorder: Recorder, index: int, stage: StageSpec) -> None:
        self._bench = bench
        self._recorder = recorder
        self._index = index
        self._stage = stage

    def run(self, pipeline_deadline: float | None) -> StageOutcome:
        """Run the stage.

        Args:
            pipeline_deadline: when the whole pipeline is timed out, on the monotonic clock.
        """
        bench, stage = self._bench, self._stage
        began = time.monotonic()
        own = None if stage.timeout_s is None else began + stage.timeout_s
        deadline = min((d for d in (own, pipeline_deadline) if d is not None), default=None)
        spec = child_spec(bench.spec, stage)
        about: dict[str, Any] = {"stage": stage.id, "index": self._index}
        self._recorder.fact(Event.STAGE_STARTED, {**about, "try": 1}, flush=False)
        link = {**about, "pipeline": stage.pipeline, "sub_run_id": spec.run_id}
        self._recorder.fact(Event.CHILD_STARTED, link)
        child = ChildRun(bench.layout, spec, bench.control)
        try:
            ending = child.run(deadline_mono_s=deadline, grace_s=bench.spec.limits.grace_s)
        except OSError as error:
            ending = ChildEnding("failed", f"the request could not be handed in: {error.strerror}")
        self._recorder.fact(Event.CHILD_ENDED, {**link, "status": ending.status}, flush=False)
        reason = ending.reason
        if reason is None and ending.status != "succeeded":
            reason = "subpipeline-failed"
        status = "succeeded"
        if reason is not None:
            skipped = stage.allow_failure and reason != "cancelled"
            status = "skipped" if skipped else "failed"
        message = f"sub-pipeline {stage.pipeline} {ending.status} (run {spec.run_id})"
        self._recorder.fact(
            Event.STAGE_ENDED,
            {
                **about,
                "try": 1,
                "status": status,
                "exit_code": None,
                "signal": None,
                "duration_s": round(time.monotonic() - began, 3),
                "reason": reason,
                "summary": message if reason is not None else stage.summary_hint,
                "error_file": None,
            },
        )
        return StageOutcome(
            status=status,
            reason=reason,
            message=None if status == "succeeded" else f"{stage.id}: {message}",
            timed_out_mono_s=deadline if reason == "timed-out" else None,
        )

"""A stage that is a pipeline: a run of its own, requested from the supervisor.

The worker never starts a worker. It records the id of the run, submits the request, and reads that
run's journal until its verdict; the root's supervisor starts the run. If a caller hosts this run,
its host hosts the sub-pipeline's run, too (``entry.caller_host``).
"""

import os
import time
from dataclasses import replace
from typing import Any, Final

from workers.records.clock import utc_text
from workers.records.dataclass import dataclass
from workers.records.ids import new_run_id
from workers.records.journal import Event, Fact, JournalReader, verdict_in
from workers.records.layout import Layout
from workers.records.manifest import Status
from workers.records.params import bind_params, subpipeline_params
from workers.records.request import Request, RequestKind, publish
from workers.records.spec import PipelineSpec, RunSpec, StageSpec
from workers.records.typed_errors import TypedError
from workers.stages.control import Control
from workers.stages.results import ProcessResult, StageOutcome, TryResult, stage_facts
from workers.stages.scheduler import StageTask, WaitUntil
from workers.stages.stage_context import StageContext

POLL_S: Final = 0.1  # one stat of the journal
SUBMIT_DELAY_S: Final = 0.5  # between two tries to submit, if the disk refuses
ENDING_MARGIN_S: Final = 30.0  # after the grace: killing, cleanup and one slow write


class SubpipelineStage:
    """Runs one sub-pipeline stage.

    Args:
        context: the run.
        index: the stage's place, from 1.
        stage: the stage.
    """

    def __init__(self, context: StageContext, index: int, stage: StageSpec) -> None:
        self._context = context
        self._recorder = context.recorder
        self._stage = stage
        self._about: dict[str, Any] = {"stage": stage.id, "index": index}

    def run(self, pipeline_deadline: float | None) -> StageTask[StageOutcome]:
        """Run the stage.

        Args:
            pipeline_deadline: the whole pipeline's deadline on the monotonic clock.
        """
        began = time.monotonic()
        own = None if self._stage.timeout_s is None else began + self._stage.timeout_s
        deadline = min((d for d in (own, pipeline_deadline) if d is not None), default=None)
        self._recorder.record(Event.STAGE_STARTED, {**self._about, "try": 1}, flush=False)
        pipelines = self._context.spec.pipelines
        pipeline = next((p for p in pipelines if p.id == self._stage.pipeline), None)
        if pipeline is None:
            message = f"the spec contains no pipeline {self._stage.pipeline!r}"
            return self._finish(began, "internal-error", message)
        result, message = yield from self._run_child(pipeline, deadline)
        if result is None:
            return self._finish(began, "spawn-failed", message)
        reason = result.reason
        if reason is None and result.status != "succeeded":
            reason = "subpipeline-failed"
        late = reason == "timed-out" and deadline == pipeline_deadline
        return self._finish(began, reason, message, late=late)

    def _run_child(
        self, pipeline: PipelineSpec, deadline: float | None
    ) -> StageTask[tuple["ChildResult | None", str]]:
        """Run it; the result is None if it could not be requested."""
        context = self._context
        spec = child_spec(context.spec, self._stage, pipeline)
        link = {**self._about, "pipeline": pipeline.id, "sub_run_id": spec.run_id}
        self._recorder.record(Event.CHILD_STARTED, link)  # durable before anything can start it
        child = ChildRun(context.layout, spec, context.control)
        try:
            if context.host is not None:
                run = context.layout.run_dir(spec.task_id, spec.run_id)
                context.host.host(context.layout, run)
            yield from child.submit(deadline_mono_s=deadline)
        except (OSError, TypedError) as error:
            self._recorder.record(Event.CHILD_ENDED, {**link, "status": "failed"}, flush=False)
            return None, f"sub-pipeline {pipeline.id}: its run could not be submitted: {error}"
        grace_s = context.spec.limits.grace_s
        result = yield from child.wait(deadline_mono_s=deadline, grace_s=grace_s)
        self._recorder.record(Event.CHILD_ENDED, {**link, "status": result.status}, flush=False)
        status = result.status.replace("_", " ")
        return result, f"sub-pipeline {pipeline.id} {status} (run {spec.run_id})"

    def fail(self, message: str) -> None:
        """Record that the worker failed while this stage ran."""
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
        process = ProcessResult(duration_s=round(time.monotonic() - began, 3))
        result = TryResult(about={**self._about, "try": 1}, process=process, reason=reason)
        summary = stage.summary_hint if reason is None else message
        self._recorder.record(Event.STAGE_ENDED, stage_facts(result, status, summary=summary))
        return StageOutcome(
            status=status,
            reason=reason,
            message=None if reason is None else f"{stage.id}: {message}",
            ended_pipeline=late,
        )


def child_spec(parent: RunSpec, stage: StageSpec, pipeline: PipelineSpec) -> RunSpec:
    """The spec of the run that a stage requests."""
    now = time.time()
    params = subpipeline_params(stage, pipeline)
    return replace(
        parent,
        run_id=new_run_id(epoch_s=now, entropy=os.urandom(4)),
        pipeline=bind_params(pipeline, params),
        params=params,
        parent_run_id=parent.run_id,
        retry_of=None,
        kept=(),
        hooks=(),
        batch=None,
        priority=0,
        group=None,
        after=(),
        nested_in=None,
        asked_by="worker",
        asked_at=utc_text(now),
        resume_token=os.urandom(16).hex(),
    )


@dataclass(frozen=True, slots=True)
class ChildResult:
    """How a child's run ended.

    Attributes:
        status: its verdict's; in_progress if we gave up waiting.
        reason: timed-out or cancelled if we ended it, else None.
    """

    status: str
    reason: str | None


class ChildRun:
    """Submits one child run and waits for it.

    Args:
        layout: the root.
        spec: the child's.
        control: requests to end the parent.
    """

    def __init__(self, layout: Layout, spec: RunSpec, control: Control) -> None:
        self._layout = layout
        self._spec = spec
        self._control = control
        self._path = layout.run_dir(spec.task_id, spec.run_id).journal
        self._journal = JournalReader(self._path)
        self._size = -1

    def submit(self, *, deadline_mono_s: float | None) -> StageTask[None]:
        """Submit the run; if the disk refuses, try again until the run must end.

        Raises:
            OSError: it could not be submitted before the deadline, or before the run must end.
            TypedError: it never can be.
        """
        request = Request(kind=RequestKind.RUNS, runs=(self._spec,))
        while True:
            try:
                publish(self._layout, request)
            except OSError as error:
                refusal = error
            else:
                return
            late = deadline_mono_s is not None and time.monotonic() >= deadline_mono_s
            if late or self._control.detail is not None:
                raise refusal
            yield WaitUntil(time.monotonic() + SUBMIT_DELAY_S)

    def wait(self, *, deadline_mono_s: float | None, grace_s: float) -> StageTask[ChildResult]:
        """Wait for its verdict; never raises for anything that the child does."""
        reason: str | None = None
        is_cancelled = False
        give_up_mono_s = float("inf")
        while True:
            verdict = verdict_in(self._new_facts())
            if verdict is not None:
                return ChildResult(str(verdict.data.get("status")), reason)
            now = time.monotonic()
            if now >= give_up_mono_s:
                return ChildResult(Status.IN_PROGRESS, reason)
            detail = self._control.detail
            if reason is None:
                if detail is not None:
                    reason = "cancelled"
                elif deadline_mono_s is not None and now >= deadline_mono_s:
                    reason = "timed-out"
                if reason is not None:
                    give_up_mono_s = now + grace_s + ENDING_MARGIN_S
            if reason is not None and not is_cancelled:
                is_cancelled = self._cancel(detail or "stopped")
            yield WaitUntil(now + POLL_S)

    def _new_facts(self) -> list[Fact]:
        try:
            size = os.stat(self._path, follow_symlinks=False).st_size
            if size == self._size:
                return []
            facts = self._journal.read_new()
        except (OSError, TypedError):
            return []  # its directory does not exist yet
        self._size = size
        return facts

    def _cancel(self, detail: str) -> bool:
        request = Request(kind=RequestKind.CANCEL, run_ids=(self._spec.run_id,), detail=detail)
        try:
            publish(self._layout, request)
        except (OSError, TypedError):
            return False  # for example a full disk: the next poll tries again
        return True

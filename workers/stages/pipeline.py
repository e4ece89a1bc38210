"""A run: the stages of a pipeline, each fact recorded in the journal, one verdict at the end."""

import os
from collections.abc import Iterator
from typing import Any

from workers.output.masking import Mask, secret_values
from workers.records.dataclass import dataclass
from workers.records.files import make_private
from workers.records.identity import identity_of
from workers.records.journal import Event
from workers.records.spec import StageKind, StageSpec
from workers.records.typed_errors import TypedError
from workers.stages.command import CommandStage
from workers.stages.graph import Graph, stages_at_once
from workers.stages.heartbeat_thread import HeartbeatThread
from workers.stages.results import StageOutcome, clean
from workers.stages.scheduler import Scheduler, StageTask
from workers.stages.slots import HeldSlots, Slots
from workers.stages.stage_context import StageContext
from workers.stages.subpipeline import SubpipelineStage

_DETAILS = {"command-failed": "failed", "timed-out": "timed-out"}


@dataclass(frozen=True, slots=True)
class Verdict:
    """Status, status_detail, and the reason for people."""

    status: str
    detail: str | None = None
    reason: str | None = None


class PipelineRun:
    """Runs a pipeline.

    Args:
        context: what every stage works with.
        heartbeat: started here, and stopped before the verdict is written.
    """

    def __init__(self, context: StageContext, heartbeat: HeartbeatThread) -> None:
        self._context = context
        self._recorder = context.recorder
        self._heartbeat = heartbeat
        self._began = context.clock.mono_s()
        self._graph = Graph(context.spec.pipeline, stages_at_once(context.spec.pipeline))
        self._by_id = {stage.id: stage for stage in context.spec.pipeline.stages}
        self._kept = {item.stage: item.run_id for item in context.spec.kept}
        self._scheduler: Scheduler[str, StageOutcome] = Scheduler(context.control)
        self._running: dict[str, CommandStage | SubpipelineStage] = {}

    def run(self) -> bool:
        """Run it to its verdict; False if the verdict could not be written."""
        context = self._context
        self._heartbeat.start()
        identity = identity_of(os.getpid())
        self._recorder.record(
            Event.RUN_STARTED,
            {
                "identity": None if identity is None else identity.to_json(),
                "attempt": context.attempt,
                "root_id": context.root_id,
            },
        )
        try:
            make_private(context.run.commands)
        except (OSError, TypedError) as error:  # the run continues; its logs warn once more
            self._recorder.warn("directory_failed", f"{context.run.commands}: {error}")
        return self._write_verdict(self._run_stages())

    def fail(self, error: Exception) -> bool:
        """After an exception in the worker: end everything and write a verdict; as ``run``."""
        context = self._context
        context.containment.end_all(context.spec.limits.grace_s)
        self._scheduler.close()
        reason = f"the worker failed: {type(error).__name__}: {error}"
        secrets = secret_values(context.spec.secrets, context.environ)
        reason = clean(Mask(secrets).text(reason) if secrets else reason)
        for runner in self._running.values():
            runner.fail(reason)
        detail = f"stage:{self._scheduler.current or 'worker'}:error"
        return self._write_verdict(Verdict("failed", detail, reason))

    def _run_stages(self) -> Verdict:
        """Start every stage whose needs are met, until none runs and none may start."""
        timeout_s = self._context.spec.pipeline.timeout_s
        deadline = None if timeout_s is None else self._began + timeout_s
        verdicts = list(self._start_stages(deadline))
        while len(self._scheduler):
            ended = self._scheduler.run_once()
            for stage_id, outcome in ended:
                verdicts += self._end(stage_id, outcome)
            if ended:  # only the end of a stage allows another one to start
                verdicts += self._start_stages(deadline)
        return min(verdicts, key=_rank, default=self._success())

    def _success(self) -> Verdict:
        """The verdict if nothing failed; needs in a circle would leave stages, though."""
        for stage_id, need in self._graph.unmet():
            reason = f"{stage_id} needs {need}, which never begins"
            return Verdict("failed", "stage:worker:error", reason)
        return Verdict("succeeded")

    def _start_stages(self, deadline: float | None) -> Iterator[Verdict]:
        """Start the stages that may start; yields verdicts that follow at once."""
        context, graph = self._context, self._graph
        while (item := graph.next()) is not None:
            index, stage = item
            if not len(self._scheduler):
                context.control.check()  # the scheduler does not read the wakeup pipe now
            if (detail := context.control.detail) is not None:
                yield Verdict("cancelled", detail, f"cancelled before {stage.id} began")
                return
            if deadline is not None and context.clock.mono_s() >= deadline:
                yield Verdict("failed", "timed-out", f"timed out before {stage.id} began")
                return
            if stage.id in self._kept:
                graph.start(stage.id)
                about = {"stage": stage.id, "index": index, "kept_from": self._kept[stage.id]}
                self._recorder.record(Event.STAGE_KEPT, about, flush=False)
                graph.end(stage.id, "succeeded")
                continue
            task = self._run_stage(index, stage, deadline)
            for stage_id, outcome in self._scheduler.start(stage.id, task):
                yield from self._end(stage_id, outcome)

    def _run_stage(
        self, index: int, stage: StageSpec, deadline: float | None
    ) -> StageTask[StageOutcome]:
        """Run one stage with its slots; while it waits for them it does not count as running."""
        context, graph = self._context, self._graph
        held: HeldSlots | None = None
        graph.defer(stage.id)
        if stage.uses:
            slots = Slots(context, index, stage)
            try:
                if (held := slots.take()) is None:
                    about = {"stage": stage.id, "index": index, "slots": list(stage.uses)}
                    self._recorder.record(Event.STAGE_WAITING, about, flush=False)
                    held = yield from slots.wait(deadline, lambda: graph.has_room)
            except (OSError, TypedError) as error:
                message = f"{stage.id}: {error}"
                return StageOutcome(status="failed", reason="slots-failed", message=message)
            if held is None:
                return _not_begun(stage, "cancelled" if context.control.detail else "timed-out")
        graph.start(stage.id)
        kind = SubpipelineStage if stage.kind is StageKind.SUBPIPELINE else CommandStage
        runner = kind(context, index, stage)
        self._running[stage.id] = runner
        outcome = yield from runner.run(deadline)
        del self._running[stage.id]
        if held is not None:
            held.release(is_clean=not context.containment.given_up_pids())
        return outcome

    def _end(self, stage_id: str, outcome: StageOutcome) -> Iterator[Verdict]:
        self._graph.end(stage_id, outcome.status)
        if outcome.status == "failed":
            yield self._verdict_of(self._by_id[stage_id], outcome)

    def _verdict_of(self, stage: StageSpec, outcome: StageOutcome) -> Verdict:
        """The verdict that follows from a failed stage."""
        if outcome.reason == "cancelled":
            return Verdict("cancelled", self._context.control.detail, outcome.message)
        if outcome.ended_pipeline:
            detail = "timed-out"
        elif outcome.reason == "subpipeline-failed":
            detail = f"subpipeline:{stage.pipeline}:failed"
        else:
            detail = f"stage:{stage.id}:{_DETAILS.get(outcome.reason or '', 'error')}"
        return Verdict("failed", detail, outcome.message)

    def _write_verdict(self, verdict: Verdict) -> bool:
        self._heartbeat.stop()
        context = self._context
        data: dict[str, Any] = {
            "status": verdict.status,
            "detail": verdict.detail,
            "reason": verdict.reason,
            "summary": None,
            "duration_s": round(context.clock.mono_s() - self._began, 3),
            "heartbeat": self._heartbeat.to_json(),
            "slowest_journal_s": round(self._recorder.slowest_s, 6),
            "leftover_pids": context.containment.given_up_pids(),
        }
        if any(stage.needs for stage in context.spec.pipeline.stages):
            data["unmet"] = dict(self._graph.unmet())
        is_written = self._recorder.record_verdict(data, on_wait=self._heartbeat.beat)
        self._heartbeat.stop()
        return is_written


def _rank(verdict: Verdict) -> int:
    """Which of several verdicts is the run's: the lowest rank, of the same rank the first."""
    if verdict.status == "cancelled":
        return 0
    return 1 if verdict.detail == "timed-out" else 2


def _not_begun(stage: StageSpec, reason: str) -> StageOutcome:
    text = f"{reason.replace('-', ' ')} while it waited for {', '.join(stage.uses)}"
    return StageOutcome(
        status="failed",
        reason=reason,
        message=f"{stage.id}: {text}",
        ended_pipeline=reason == "timed-out",
    )

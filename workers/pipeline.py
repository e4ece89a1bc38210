"""A run: the stages of a pipeline in order, each fact journalled, one verdict at the end."""

import os
from dataclasses import dataclass

from workers.command import CommandStage
from workers.outcome import StageOutcome
from workers.pulse import Pulse
from workers.recorder import Bench, Recorder
from workers.records.errors import TypedError
from workers.records.files import make_private
from workers.records.identity import identity_of
from workers.records.journal import Event
from workers.records.spec import StageKind, StageSpec
from workers.subpipeline import SubpipelineStage
from workers.tried import clean


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the verdict says: status, status_detail, and the reason for people."""

    status: str
    detail: str | None = None
    reason: str | None = None


class PipelineRun:
    """Runs a pipeline.

    Args:
        bench: what every stage works with.
        recorder: writes the facts.
        pulse: the heartbeat, started here and stopped before the verdict is written.
    """

    def __init__(self, bench: Bench, recorder: Recorder, pulse: Pulse) -> None:
        self._bench = bench
        self._recorder = recorder
        self._pulse = pulse
        self._began = bench.clock.mono_s()
        self._at: tuple[str, CommandStage | SubpipelineStage] | None = None

    def run(self) -> bool:
        """Run it to its verdict; False where the verdict could not be written."""
        bench = self._bench
        self._pulse.start()
        identity = identity_of(os.getpid())
        self._recorder.fact(
            Event.RUN_STARTED,
            {"identity": None if identity is None else identity.to_json(), "attempt": 1},
        )
        try:
            make_private(bench.run.commands)
        except (OSError, TypedError) as error:  # the run goes on; its logs warn once more
            self._recorder.warn("directory_failed", f"{bench.run.commands}: {error}")
        return self._say(self._stages())

    def fail(self, error: Exception) -> bool:
        """Something of ours broke: end everything and say so; returns as ``run``."""
        bench = self._bench
        bench.containment.end_all(bench.spec.limits.grace_s)
        reason = clean(f"the worker failed: {type(error).__name__}: {error}")
        if self._at is None:
            return self._say(Judgement("failed", "stage:worker:error", reason))
        stage_id, runner = self._at
        runner.broken(reason)
        return self._say(Judgement("failed", f"stage:{stage_id}:error", reason))

    def _stages(self) -> Judgement:
        bench = self._bench
        timeout_s = bench.spec.pipeline.timeout_s
        deadline = None if timeout_s is None else self._began + timeout_s
        kept = {item.stage: item.run_id for item in bench.spec.kept}
        for index, stage in enumerate(bench.spec.pipeline.stages, 1):
            if (detail := bench.control.look()) is not None:
                return Judgement("cancelled", detail, f"cancelled before {stage.id} began")
            if deadline is not None and bench.clock.mono_s() >= deadline:
                return Judgement("failed", "timed-out", f"timed out before {stage.id} began")
            if stage.id in kept:
                about = {"stage": stage.id, "index": index, "kept_from": kept[stage.id]}
                self._recorder.fact(Event.STAGE_KEPT, about, flush=False)
                continue
            kind = SubpipelineStage if stage.kind is StageKind.SUBPIPELINE else CommandStage
            runner = kind(bench, self._recorder, index, stage)
            self._at = (stage.id, runner)
            outcome = runner.run(deadline)
            self._at = None
            if outcome.status == "failed":
                return self._judge(stage, outcome)
        return Judgement("succeeded")

    def _judge(self, stage: StageSpec, outcome: StageOutcome) -> Judgement:
        """The verdict that a failed stage means."""
        if outcome.reason == "cancelled":
            return Judgement("cancelled", self._bench.control.detail, outcome.message)
        if outcome.ended_pipeline:
            detail = "timed-out"
        elif outcome.reason == "subpipeline-failed":
            detail = f"subpipeline:{stage.pipeline}:failed"
        else:
            words = {"command-failed": "failed", "timed-out": "timed-out"}
            detail = f"stage:{stage.id}:{words.get(outcome.reason or '', 'error')}"
        return Judgement("failed", detail, outcome.message)

    def _say(self, judgement: Judgement) -> bool:
        self._pulse.stop()
        verdict = {
            "status": judgement.status,
            "detail": judgement.detail,
            "reason": judgement.reason,
            "summary": None,
            "duration_s": round(self._bench.clock.mono_s() - self._began, 3),
            "heartbeat": self._pulse.to_json(),
            "slowest_journal_s": round(self._recorder.slowest_s, 6),
            "leftover_pids": self._bench.containment.given_up_pids(),
        }
        written = self._recorder.verdict(verdict, on_wait=self._pulse.beat)
        self._pulse.stop()
        return written

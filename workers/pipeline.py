"""A run: the stages of a pipeline in order, each fact journalled, one verdict at the end."""

import os

from workers.command import CommandStage
from workers.containment import descendants
from workers.outcome import StageOutcome
from workers.pulse import Pulse
from workers.recorder import Bench, Recorder
from workers.records.files import make_dir
from workers.records.identity import identity_of
from workers.records.journal import Event
from workers.records.spec import StageKind, StageSpec
from workers.subpipeline import SubpipelineStage


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
        self._leftover_pids: list[int] = []

    def run(self) -> None:
        """Run it to its verdict."""
        bench = self._bench
        began = bench.clock.mono_s()
        self._pulse.start()
        identity = identity_of(os.getpid())
        self._recorder.fact(
            Event.RUN_STARTED,
            {"identity": None if identity is None else identity.to_json(), "attempt": 1},
        )
        make_dir(bench.run.commands)
        make_dir(bench.run.errors)
        timeout_s = bench.spec.pipeline.timeout_s
        deadline = None if timeout_s is None else began + timeout_s
        status, detail, reason = "succeeded", None, None
        for index, stage in enumerate(bench.spec.pipeline.stages, 1):
            outcome = self._stage(index, stage, deadline)
            self._leftover_pids += outcome.leftover_pids
            if outcome.status == "failed":
                status, detail = self._judge(stage, outcome, deadline)
                reason = outcome.message
                break
            if bench.control.detail is not None and index < len(bench.spec.pipeline.stages):
                status, detail = "cancelled", bench.control.detail
                break
        self._pulse.stop()
        self._say(status, detail, reason, round(bench.clock.mono_s() - began, 3))

    def _stage(self, index: int, stage: StageSpec, deadline: float | None) -> StageOutcome:
        if stage.kind is StageKind.SUBPIPELINE:
            return SubpipelineStage(self._bench, self._recorder, index, stage).run(deadline)
        return CommandStage(self._bench, self._recorder, index, stage).run(deadline)

    def _judge(
        self, stage: StageSpec, outcome: StageOutcome, deadline: float | None
    ) -> tuple[str, str | None]:
        """The verdict that a failed stage means."""
        control = self._bench.control
        if outcome.reason == "cancelled":
            return "cancelled", control.detail
        if outcome.reason == "timed-out" and outcome.timed_out_mono_s == deadline:
            return "failed", "timed-out"
        if stage.kind is StageKind.SUBPIPELINE and outcome.reason == "subpipeline-failed":
            return "failed", f"subpipeline:{stage.pipeline}:failed"
        words = {"command-failed": "failed", "timed-out": "timed-out"}
        return "failed", f"stage:{stage.id}:{words.get(outcome.reason or '', 'error')}"

    def _say(self, status: str, detail: str | None, reason: str | None, duration_s: float) -> None:
        alive = {pid for pid, _ in descendants()}
        leftover = [pid for pid in self._leftover_pids if pid in alive]
        if self._recorder.lost_count:
            self._recorder.fact(
                Event.WARNING,
                {
                    "code": "facts_lost",
                    "message": f"{self._recorder.lost_count} facts could not be written",
                },
                flush=False,
            )
        self._recorder.verdict(
            {
                "status": status,
                "detail": detail,
                "reason": reason,
                "summary": None,
                "duration_s": duration_s,
                "heartbeat": self._pulse.to_json(),
                "slowest_journal_s": round(self._recorder.slowest_s, 6),
                "leftover_pids": leftover,
            }
        )

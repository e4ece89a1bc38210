"""A run: the stages of a pipeline, each fact journalled, one verdict at the end."""

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
from workers.stages.descriptors import stages_at_once
from workers.stages.graph import Graph
from workers.stages.heartbeat_thread import HeartbeatThread
from workers.stages.outcome import StageOutcome
from workers.stages.scheduler import Scheduler, StageTask
from workers.stages.slots import HeldSlots, Slots
from workers.stages.stage_context import Recorder, StageContext
from workers.stages.subpipeline import SubpipelineStage
from workers.stages.try_result import clean


@dataclass(frozen=True, slots=True)
class Verdict:
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

    def __init__(self, bench: StageContext, recorder: Recorder, pulse: HeartbeatThread) -> None:
        self._bench = bench
        self._recorder = recorder
        self._pulse = pulse
        self._began = bench.clock.mono_s()
        self._graph = Graph(bench.spec.pipeline, stages_at_once(bench.spec.pipeline))
        self._by_id = {stage.id: stage for stage in bench.spec.pipeline.stages}
        self._kept = {item.stage: item.run_id for item in bench.spec.kept}
        self._turns: Scheduler[str, StageOutcome] = Scheduler(bench.control)
        self._on: dict[str, CommandStage | SubpipelineStage] = {}

    def run(self) -> bool:
        """Run it to its verdict; False where the verdict could not be written."""
        bench = self._bench
        self._pulse.start()
        identity = identity_of(os.getpid())
        self._recorder.fact(
            Event.RUN_STARTED,
            {
                "identity": None if identity is None else identity.to_json(),
                "attempt": bench.attempt,
                "root_id": bench.root_id,
            },
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
        self._turns.close()
        reason = f"the worker failed: {type(error).__name__}: {error}"
        secrets = secret_values(bench.spec.secrets, bench.environ)
        reason = clean(Mask(secrets).text(reason) if secrets else reason)
        for runner in self._on.values():
            runner.broken(reason)
        detail = f"stage:{self._turns.at or 'worker'}:error"
        return self._say(Verdict("failed", detail, reason))

    def _stages(self) -> Verdict:
        """Let every stage begin whose needs are met, until none is on and none may begin."""
        timeout_s = self._bench.spec.pipeline.timeout_s
        deadline = None if timeout_s is None else self._began + timeout_s
        judgements = list(self._begin(deadline))
        while len(self._turns):
            ended = self._turns.turn()
            for stage_id, outcome in ended:
                judgements += self._ended(stage_id, outcome)
            if ended:  # nothing else lets a stage begin
                judgements += self._begin(deadline)
        return min(judgements, key=_weight, default=self._all_made())

    def _all_made(self) -> Verdict:
        """Nothing went wrong; a spec whose needs lead in a circle leaves stages, though."""
        for stage_id, need in self._graph.unmet():
            return Verdict(
                "failed", "stage:worker:error", f"{stage_id} needs {need}, which never begins"
            )
        return Verdict("succeeded")

    def _begin(self, deadline: float | None) -> Iterator[Verdict]:
        """Begin what may begin; yields what became of that at once."""
        bench, graph = self._bench, self._graph
        while (found := graph.next()) is not None:
            index, stage = found
            if not len(self._turns):
                bench.control.look()  # nobody else hears the bell now
            if (detail := bench.control.detail) is not None:
                yield Verdict("cancelled", detail, f"cancelled before {stage.id} began")
                return
            if deadline is not None and bench.clock.mono_s() >= deadline:
                yield Verdict("failed", "timed-out", f"timed out before {stage.id} began")
                return
            if stage.id in self._kept:
                graph.begin(stage.id)
                about = {"stage": stage.id, "index": index, "kept_from": self._kept[stage.id]}
                self._recorder.fact(Event.STAGE_KEPT, about, flush=False)
                graph.ended(stage.id, "succeeded")
                continue
            steps = self._steps(index, stage, deadline)
            for stage_id, outcome in self._turns.begin(stage.id, steps):
                yield from self._ended(stage_id, outcome)

    def _steps(
        self, index: int, stage: StageSpec, deadline: float | None
    ) -> StageTask[StageOutcome]:
        """One stage, with the slots that it uses; while it waits for them it is not on."""
        bench, graph = self._bench, self._graph
        held: HeldSlots | None = None
        graph.wait(stage.id)
        if stage.uses:
            slots = Slots(
                bench.layout,
                bench.spec,
                index=index,
                stage_id=stage.id,
                names=stage.uses,
                control=bench.control,
                root_id=bench.root_id,
            )
            try:
                if (held := slots.take()) is None:
                    about = {"stage": stage.id, "index": index, "slots": list(stage.uses)}
                    self._recorder.fact(Event.STAGE_WAITING, about, flush=False)
                    held = yield from slots.wait(deadline, lambda: graph.has_room)
            except (OSError, TypedError) as error:
                return StageOutcome(
                    status="failed", reason="slots-failed", message=f"{stage.id}: {error}"
                )
            if held is None:
                return _not_begun(stage, "cancelled" if bench.control.detail else "timed-out")
        graph.begin(stage.id)
        kind = SubpipelineStage if stage.kind is StageKind.SUBPIPELINE else CommandStage
        runner = kind(bench, self._recorder, index, stage)
        self._on[stage.id] = runner
        outcome = yield from runner.run(deadline)
        del self._on[stage.id]
        if held is not None:
            held.give_back(is_clean=not bench.containment.given_up_pids())
        return outcome

    def _ended(self, stage_id: str, outcome: StageOutcome) -> Iterator[Verdict]:
        self._graph.ended(stage_id, outcome.status)
        if outcome.status == "failed":
            yield self._judge(self._by_id[stage_id], outcome)

    def _judge(self, stage: StageSpec, outcome: StageOutcome) -> Verdict:
        """The verdict that a failed stage means."""
        if outcome.reason == "cancelled":
            return Verdict("cancelled", self._bench.control.detail, outcome.message)
        if outcome.ended_pipeline:
            detail = "timed-out"
        elif outcome.reason == "subpipeline-failed":
            detail = f"subpipeline:{stage.pipeline}:failed"
        else:
            words = {"command-failed": "failed", "timed-out": "timed-out"}
            detail = f"stage:{stage.id}:{words.get(outcome.reason or '', 'error')}"
        return Verdict("failed", detail, outcome.message)

    def _say(self, judgement: Verdict) -> bool:
        self._pulse.stop()
        verdict: dict[str, Any] = {
            "status": judgement.status,
            "detail": judgement.detail,
            "reason": judgement.reason,
            "summary": None,
            "duration_s": round(self._bench.clock.mono_s() - self._began, 3),
            "heartbeat": self._pulse.to_json(),
            "slowest_journal_s": round(self._recorder.slowest_s, 6),
            "leftover_pids": self._bench.containment.given_up_pids(),
        }
        if any(stage.needs for stage in self._bench.spec.pipeline.stages):
            verdict["unmet"] = dict(self._graph.unmet())
        written = self._recorder.verdict(verdict, on_wait=self._pulse.beat)
        self._pulse.stop()
        return written


def _weight(judgement: Verdict) -> int:
    """What decides a run of several judgements; of the same weight the first does."""
    if judgement.status == "cancelled":
        return 0
    return 1 if judgement.detail == "timed-out" else 2


def _not_begun(stage: StageSpec, reason: str) -> StageOutcome:
    words = f"{reason.replace('-', ' ')} while it waited for {', '.join(stage.uses)}"
    return StageOutcome(
        status="failed",
        reason=reason,
        message=f"{stage.id}: {words}",
        ended_pipeline=reason == "timed-out",
    )

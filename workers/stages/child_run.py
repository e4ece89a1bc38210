"""A stage that is a pipeline: a run of its own, asked of the supervisor, awaited by its journal.

The worker never starts a worker. It writes down which run it asked for, hands in the request, and
reads that run's journal until the verdict; whoever serves the root makes the run. The run of a
caller's sub-pipeline is hosted by the process that hosts the caller's run (``caller_host``).
"""

import os
import time
from dataclasses import replace
from typing import Final

from workers.records.clock import utc_text
from workers.records.dataclass import dataclass
from workers.records.ids import new_run_id
from workers.records.journal import Fact, JournalReader, verdict_in
from workers.records.layout import Layout
from workers.records.manifest import Status
from workers.records.params import bind_params, subpipeline_params
from workers.records.request import Request, RequestKind, publish
from workers.records.spec import PipelineSpec, RunSpec, StageSpec
from workers.records.typed_errors import TypedError
from workers.stages.control import Control
from workers.stages.scheduler import StageTask, WaitUntil

POLL_S: Final = 0.1  # nobody waits for less; a look is one stat of the journal
ASK_AGAIN_S: Final = 0.5  # a disk that has room again is noticed so soon
ENDING_MARGIN_S: Final = 30.0  # beyond the grace: killing, clearing and one slow write


def child_spec(parent: RunSpec, stage: StageSpec, pipeline: PipelineSpec) -> RunSpec:
    """The spec of the run that a stage asks for."""
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
        status: its verdict's, or in_progress where we waited no longer.
        reason: timed-out or cancelled where we wanted it ended, else None.
    """

    status: str
    reason: str | None


class ChildRun:
    """Waits for one child.

    Args:
        layout: the root.
        spec: the child's.
        control: what may end the parent from outside.
    """

    def __init__(self, layout: Layout, spec: RunSpec, control: Control) -> None:
        self._layout = layout
        self._spec = spec
        self._control = control
        self._path = layout.run_dir(spec.task_id, spec.run_id).journal
        self._journal = JournalReader(self._path)
        self._size = -1

    def ask(self, *, deadline_mono_s: float | None) -> StageTask[None]:
        """Ask for the run; a disk that refuses is asked again until somebody wants us ended.

        Raises:
            OSError: it could not be handed in until the deadline, or until we are to end.
            TypedError: it never can be.
        """
        request = Request(kind=RequestKind.RUNS, runs=(self._spec,))
        while True:
            try:
                publish(self._layout, request)
            except OSError as error:
                refused = error
            else:
                return
            late = deadline_mono_s is not None and time.monotonic() >= deadline_mono_s
            if late or self._control.detail is not None:
                raise refused
            yield WaitUntil(time.monotonic() + ASK_AGAIN_S)

    def wait(self, *, deadline_mono_s: float | None, grace_s: float) -> StageTask[ChildResult]:
        """Wait for its verdict; never raises for what the child does."""
        reason: str | None = None
        asked_to_end = False
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
            if reason is not None and not asked_to_end:
                asked_to_end = self._ask_to_end(detail or "stopped")
            yield WaitUntil(now + POLL_S)

    def _new_facts(self) -> list[Fact]:
        try:
            size = os.stat(self._path, follow_symlinks=False).st_size
            if size == self._size:
                return []
            facts = self._journal.read_new()
        except (OSError, TypedError):
            return []  # its directory is not there yet
        self._size = size
        return facts

    def _ask_to_end(self, detail: str) -> bool:
        request = Request(kind=RequestKind.CANCEL, run_ids=(self._spec.run_id,), detail=detail)
        try:
            publish(self._layout, request)
        except (OSError, TypedError):
            return False  # a full disk, say: the next look tries again
        return True

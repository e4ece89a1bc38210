"""A stage that is a pipeline: a run of its own, asked of the supervisor, awaited by its journal.

The worker never starts a worker. It writes down which run it asked for, hands in the request, and
reads that run's journal until the verdict; whoever serves the root makes the run.
"""

import os
import select
import time
from dataclasses import dataclass, replace
from typing import Final

from workers.control import Control
from workers.records.clock import utc_text
from workers.records.errors import TypedError
from workers.records.ids import new_run_id
from workers.records.journal import Fact, JournalReader, verdict_in
from workers.records.layout import Layout
from workers.records.request import Request, RequestKind, publish
from workers.records.spec import RunSpec, StageSpec

POLL_S: Final = 0.1
ENDING_MARGIN_S: Final = 30.0  # beyond the grace: killing, clearing and one slow write


def child_spec(parent: RunSpec, stage: StageSpec) -> RunSpec:
    """The spec of the run that a stage asks for; LookupError where its pipeline is not there."""
    pipeline = next(p for p in parent.pipelines if p.id == stage.pipeline)
    now = time.time()
    return replace(
        parent,
        run_id=new_run_id(epoch_s=now, entropy=os.urandom(4)),
        pipeline=pipeline,
        parent_run_id=parent.run_id,
        retry_of=None,
        batch=None,
        asked_by="worker",
        asked_at=utc_text(now),
        resume_token=os.urandom(16).hex(),
    )


@dataclass(frozen=True, slots=True)
class ChildEnding:
    """How a child's run ended; ``reason`` is timed-out or cancelled where we ended it."""

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
        run = layout.run_dir(spec.task_id, spec.run_id)
        self._journal = JournalReader(run.journal)

    def run(self, *, deadline_mono_s: float | None, grace_s: float) -> ChildEnding:
        """Ask for the run and wait for its verdict.

        Raises:
            OSError: the request could not be handed in.
        """
        publish(self._layout, Request(kind=RequestKind.RUNS, runs=(self._spec,)))
        reason: str | None = None
        give_up_mono_s: float | None = None
        facts: list[Fact] = []
        while True:
            facts += self._new_facts()
            verdict = verdict_in(facts)
            if verdict is not None:
                return ChildEnding(str(verdict.data.get("status")), reason)
            now = time.monotonic()
            if give_up_mono_s is not None and now >= give_up_mono_s:
                return ChildEnding("failed", reason)
            detail = self._control.look()
            if reason is None:
                if detail is not None:
                    reason = "cancelled"
                elif deadline_mono_s is not None and now >= deadline_mono_s:
                    reason, detail = "timed-out", "stopped"
                if reason is not None:
                    self._cancel(detail)
                    give_up_mono_s = now + grace_s + ENDING_MARGIN_S
            select.select([self._control.bell_fd], [], [], POLL_S)

    def _new_facts(self) -> list[Fact]:
        try:
            return self._journal.read_new()
        except (FileNotFoundError, TypedError):
            return []  # its directory is not there yet

    def _cancel(self, detail: str | None) -> None:
        request = Request(
            kind=RequestKind.CANCEL, run_ids=(self._spec.run_id,), detail=detail or "stopped"
        )
        publish(self._layout, request)

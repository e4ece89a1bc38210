"""spec.json: what was asked, resolved once and never changed.

The worker needs nothing but this file. It holds the pipeline, every pipeline that it can reach as a
sub-pipeline, the limits in force and the *names* of secret variables (never a value). Readers
ignore keys that they do not know; ``schema`` names the format. ``read_spec`` reads it.
"""

from dataclasses import field
from enum import StrEnum
from typing import Any, Final

from workers.records.dataclass import dataclass
from workers.records.hooks import HookSpec, due_hooks
from workers.records.json_reader import to_plain
from workers.records.limits import Limits

SCHEMA: Final = "pipeline-supervisor/spec/1"
Pairs = tuple[tuple[str, str], ...]
Amounts = tuple[tuple[str, float], ...]


class StageKind(StrEnum):
    """What a stage runs; the words are the origin's."""

    COMMAND = "command"
    SUBPIPELINE = "subpipeline"


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrySpec:
    """When a failed stage is tried again.

    Attributes:
        attempts: tries in all, the first included; 1 means no retry.
        delay_s: wait before the second try, in seconds.
        factor: each further wait is this many times the one before.
        max_delay_s: no wait is longer.
        on_exit_codes: only these exit codes are tried again; None means every failure.
    """

    attempts: int = 1
    delay_s: float = 1.0
    factor: float = 2.0
    max_delay_s: float = 60.0
    on_exit_codes: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ParamSpec:
    """A parameter that a pipeline takes.

    Attributes:
        type: string, integer, number or boolean.
        choices: the values that it may have, as text; empty means every one of its type.
        default: its value, as text, where none is given; None means that one must be.
    """

    name: str
    type: str = "string"
    choices: tuple[str, ...] = ()
    default: str | None = None
    description: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSpec:
    """One stage.

    Attributes:
        command: a string for ``/bin/sh -c``, or an argv; None for a sub-pipeline.
        pipeline: the sub-pipeline's id; None for a command.
        params: what the sub-pipeline's run gets.
        cwd: relative to the root; None means the pipeline's.
        timeout_s: longest duration of one try; None means no limit.
        allow_failure: a failure is recorded as ``skipped`` and the run goes on.
        needs: the stages that must not have failed before it begins; None where nobody says.
        uses: the shared slots that it holds while it is on.
        nice: what is added to the niceness of its processes, 0 to 19; None means 0.
    """

    id: str
    title: str
    kind: StageKind = StageKind.COMMAND
    command: str | tuple[str, ...] | None = None
    pipeline: str | None = None
    params: Pairs = ()
    cwd: str | None = None
    env: Pairs = ()
    timeout_s: float | None = None
    allow_failure: bool = False
    success_exit_codes: tuple[int, ...] = (0,)
    summary_hint: str | None = None
    retries: RetrySpec = field(default_factory=RetrySpec)
    needs: tuple[str, ...] | None = None
    uses: tuple[str, ...] = ()
    nice: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineSpec:
    """An ordered list of stages.

    Attributes:
        timeout_s: bounds the whole of them.
        group: the concurrency group of its runs, where nobody says another.
        takes: the parameters that it declares.
        max_parallel: how many of its stages are on at once; None means no limit.
        resources: what a run of it takes of a host where an engine places it, by name, each more
            than 0; empty means the engine's own: one ``slot`` of Dask, one task of Slurm.
    """

    id: str
    title: str
    stages: tuple[StageSpec, ...]
    description: str | None = None
    tags: tuple[str, ...] = ()
    env: Pairs = ()
    cwd: str | None = None
    timeout_s: float | None = None
    group: str | None = None
    takes: tuple[ParamSpec, ...] = ()
    hooks: tuple[HookSpec, ...] = ()
    max_parallel: int | None = None
    resources: Amounts = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotSpec:
    """A kind of slot that all runs share, and how many there are."""

    name: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AfterSpec:
    """A run that must have succeeded before this one starts, and where it is."""

    run_id: str
    task_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptSpec:
    """A stage that is not made, and the run in which it succeeded."""

    stage: str
    run_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """One run as asked.

    Attributes:
        pipeline: what to run, its parameters filled in.
        pipelines: every pipeline reachable from it through sub-pipeline stages, as written.
        params: the value of every parameter, as text, by its name.
        parent_run_id: the run whose stage asked for this one.
        retry_of: the run that this one makes again.
        kept: the stages that are not made, since they succeeded before.
        batch: the key of the batch that it belongs to.
        batch_edition: what that batch's file said, as a digest.
        priority: the higher starts first; -1000 to 1000.
        group: the concurrency group that it counts against.
        after: the runs that must have succeeded before it starts.
        slots: the shared slots that its stages use, and those of its sub-pipelines.
        env: what ``--env`` gave: variables of every stage, over the pipeline's and the stage's own.
        launcher: "caller" if the process behind ``supervisor run`` hosts the run; None if the
            supervisor's launcher starts it.
        nested_in: the run of this root in one of whose stages ``supervisor run`` was called.
        asked_by: "start", "run", "submit", "retry" or "worker".
        asked_at: RFC 3339 UTC.
        resume_token: random hex, the origin's field.
        secrets: names of environment variables whose values are masked in every record.
        hooks: of the settings; none for a run that a stage asked for.
    """

    run_id: str
    task_id: str
    pipeline: PipelineSpec
    pipelines: tuple[PipelineSpec, ...] = ()
    params: Pairs = ()
    parent_run_id: str | None = None
    retry_of: str | None = None
    kept: tuple[KeptSpec, ...] = ()
    batch: str | None = None
    batch_edition: str | None = None
    priority: int = 0
    group: str | None = None
    after: tuple[AfterSpec, ...] = ()
    slots: tuple[SlotSpec, ...] = ()
    env: Pairs = ()
    launcher: str | None = None
    nested_in: str | None = None
    asked_by: str
    asked_at: str
    resume_token: str
    secrets: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    hooks: tuple[HookSpec, ...] = ()

    def hooks_due(self, status: str) -> tuple[HookSpec, ...]:
        """What is to be started when the run has ended so, in this order."""
        return due_hooks(self.pipeline.hooks, self.hooks, status)

    def to_json(self) -> dict[str, Any]:
        """The content of spec.json."""
        return {"schema": SCHEMA, **to_plain(self)}

"""What the core learns. Each stimulus is a fact that the daemon observed, or a request."""

from collections.abc import Mapping
from dataclasses import field

from supervisor.core.pauses import Pauses
from workers.records.dataclass import dataclass


@dataclass(frozen=True, slots=True)
class Stimulus:
    """Any of those below."""


@dataclass(frozen=True, slots=True)
class RunStimulus(Stimulus):
    """About one run."""

    run_id: str


@dataclass(frozen=True, slots=True)
class TaskStimulus(Stimulus):
    """About one task's state."""

    task_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted(Stimulus):
    """A run is on disk and queued, new or found after a restart.

    Attributes:
        nested_in: the run in one of whose stages it was submitted.
        dependencies: the runs that must succeed before it starts.
        dependency_statuses: the final statuses of those that have left the fleet.
    """

    run_id: str
    task_id: str
    parent_run_id: str | None
    waited_for: bool
    priority: int = 0
    group: str | None = None
    nested_in: str | None = None
    dependencies: tuple[str, ...] = ()
    dependency_statuses: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Adopted(Stimulus):
    """A run was found with a living worker; ``started``: its journal says that it started."""

    about: Accepted
    started: bool


@dataclass(frozen=True, slots=True)
class LaunchFailed(RunStimulus):
    """No worker could be started; ``transient``: a retry may succeed."""

    reason: str
    transient: bool


@dataclass(frozen=True, slots=True)
class PlacementWithdrawn(RunStimulus):
    """The engine will not place the run, and nothing of it has begun."""


@dataclass(frozen=True, slots=True)
class CallerGone(RunStimulus):
    """The process that was to host the run has ended, and nothing of the run has begun."""


@dataclass(frozen=True, slots=True)
class Started(RunStimulus):
    """The journal says that the worker started."""


@dataclass(frozen=True, slots=True)
class WorkerOnHost(RunStimulus):
    """The run's worker is on another host, where only its files can be observed."""

    host: str


@dataclass(frozen=True, slots=True)
class JournalAdvanced(RunStimulus):
    """The journal has new facts, so the manifest is out of date."""


@dataclass(frozen=True, slots=True)
class VerdictRead(RunStimulus):
    """The journal contains a verdict."""

    status: str
    detail: str | None


@dataclass(frozen=True, slots=True)
class WorkerGone(RunStimulus):
    """The owner lock is free, and the journal, read after that, contains no verdict."""

    reason: str


@dataclass(frozen=True, slots=True)
class DirectoryGone(RunStimulus):
    """The run's directory was deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartbeatsScanned(Stimulus):
    """One scan of the live runs.

    Attributes:
        moved: the runs whose heartbeat has moved since the last scan.
        still: those whose heartbeat has not.
        stopped: those of ``still`` whose process is stopped (state T).
    """

    moved: tuple[str, ...] = ()
    still: tuple[str, ...] = ()
    stopped: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Stalled(Stimulus):
    """The supervisor itself did not run for a while: the age of every heartbeat starts again."""


@dataclass(frozen=True, slots=True)
class LeftoversKilled(RunStimulus):
    """The processes of a run that are alive after one round of killing."""

    alive_pids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class KillingFailed(RunStimulus):
    """The run's remaining processes cannot be searched for."""

    reason: str


@dataclass(frozen=True, slots=True)
class VerdictWriteFailed(RunStimulus):
    """The supervisor could not write its verdict."""

    reason: str


@dataclass(frozen=True, slots=True)
class ManifestWritten(RunStimulus):
    """The manifest is on disk."""


@dataclass(frozen=True, slots=True)
class RunRecorded(RunStimulus):
    """Manifest and history contain the run."""


@dataclass(frozen=True, slots=True)
class RecordFailed(RunStimulus):
    """Manifest or history could not be written."""

    reason: str


@dataclass(frozen=True, slots=True)
class SnapshotWritten(TaskStimulus):
    """The task's state is on disk and contains every recorded run of it."""


@dataclass(frozen=True, slots=True)
class SnapshotWriteFailed(TaskStimulus):
    """The task's state could not be written: its lock is held, or the disk refused."""

    reason: str


@dataclass(frozen=True, slots=True)
class StateStale(TaskStimulus):
    """The task's state on disk differs from its history: it was lost or edited."""


@dataclass(frozen=True, slots=True)
class CancelRequested(RunStimulus):
    """The run shall end; ``detail`` is the status_detail of its verdict."""

    detail: str


@dataclass(frozen=True, slots=True)
class DrainRequested(Stimulus):
    """Start no queued runs."""


@dataclass(frozen=True, slots=True)
class StopRequested(Stimulus):
    """Cancel running runs, start no queued ones."""


@dataclass(frozen=True, slots=True)
class LimitChanged(Stimulus):
    """How many runs may be live at once, in total and per group."""

    max_runs: int
    groups: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PausesChanged(Stimulus):
    """Something was paused or resumed, and it is on disk."""

    pauses: Pauses

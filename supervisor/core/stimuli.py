"""What the core is told. Each is a fact that the shell has seen, never a wish to change a state."""

from collections.abc import Mapping
from dataclasses import field

from supervisor.core.pauses import Pauses
from workers.records.dataclass import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A run is on disk and queued, new or found again after a restart.

    Attributes:
        nested_in: the run in one of whose stages it was asked for.
        dependencies: the runs that must succeed before it starts.
        dependency_statuses: how those of them ended that have left the fleet.
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
class Adopted:
    """A run was found with a living worker; ``started`` as its journal says."""

    about: Accepted
    started: bool


@dataclass(frozen=True, slots=True)
class LaunchFailed:
    """No worker could be launched; ``transient`` where trying again may help."""

    run_id: str
    reason: str
    transient: bool


@dataclass(frozen=True, slots=True)
class PlacementWithdrawn:
    """An engine was to place the run; it will not now, and nothing of it has begun."""

    run_id: str


@dataclass(frozen=True, slots=True)
class CallerGone:
    """The process that was to host the run has ended, and nothing of the run has begun."""

    run_id: str


@dataclass(frozen=True, slots=True)
class Started:
    """The journal says that the worker started."""

    run_id: str


@dataclass(frozen=True, slots=True)
class WorkerOnHost:
    """The run's worker is on another host, where we can look at nothing but what it writes."""

    run_id: str
    host: str


@dataclass(frozen=True, slots=True)
class JournalAdvanced:
    """The journal has new facts, so the manifest is out of date."""

    run_id: str


@dataclass(frozen=True, slots=True)
class VerdictRead:
    """The journal holds a verdict."""

    run_id: str
    status: str
    detail: str | None


@dataclass(frozen=True, slots=True)
class WorkerGone:
    """The owner lock is free and the journal, read after that, holds no verdict."""

    run_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class DirectoryGone:
    """The run's directory is not there any more."""

    run_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartbeatsScanned:
    """One look at all live runs.

    Attributes:
        moved: the runs whose heartbeat has moved since the last look.
        still: the others.
        stopped: those of ``still`` whose process is stopped (state T).
    """

    moved: tuple[str, ...] = ()
    still: tuple[str, ...] = ()
    stopped: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Stalled:
    """The supervisor itself did not run for a while: every age starts again."""


@dataclass(frozen=True, slots=True)
class LeftoversKilled:
    """What is left of a run's processes after one round of killing."""

    run_id: str
    alive_pids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class KillingFailed:
    """What is left of a run's processes cannot be looked for; ``reason`` says why."""

    run_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class VerdictWriteFailed:
    """The supervisor's verdict could not be written; ``reason`` says why."""

    run_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class ManifestWritten:
    """The manifest is on disk."""

    run_id: str


@dataclass(frozen=True, slots=True)
class RunRecorded:
    """Manifest and history hold the run."""

    run_id: str


@dataclass(frozen=True, slots=True)
class RecordFailed:
    """Manifest or history could not be written."""

    run_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class SnapshotWritten:
    """The task's state is on disk and holds every recorded run of it."""

    task_id: str


@dataclass(frozen=True, slots=True)
class SnapshotWriteFailed:
    """The task's state could not be written: its lock is held, or the disk refused."""

    task_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class StateStale:
    """The task's state on disk is not what its history says: it was lost or edited."""

    task_id: str


@dataclass(frozen=True, slots=True)
class CancelRequested:
    """Somebody wants the run to end."""

    run_id: str
    detail: str


@dataclass(frozen=True, slots=True)
class DrainRequested:
    """Start nothing that is queued."""


@dataclass(frozen=True, slots=True)
class StopRequested:
    """Cancel what runs, start nothing."""


@dataclass(frozen=True, slots=True)
class LimitChanged:
    """How many runs may be live at once, in all and of each group."""

    max_runs: int
    groups: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PausesChanged:
    """Something was paused or resumed, and it is on disk."""

    pauses: Pauses


Stimulus = (
    Accepted
    | Adopted
    | LaunchFailed
    | PlacementWithdrawn
    | CallerGone
    | Started
    | WorkerOnHost
    | JournalAdvanced
    | VerdictRead
    | WorkerGone
    | DirectoryGone
    | HeartbeatsScanned
    | Stalled
    | LeftoversKilled
    | KillingFailed
    | VerdictWriteFailed
    | ManifestWritten
    | RunRecorded
    | RecordFailed
    | SnapshotWritten
    | SnapshotWriteFailed
    | StateStale
    | CancelRequested
    | DrainRequested
    | StopRequested
    | LimitChanged
    | PausesChanged
)

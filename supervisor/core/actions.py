"""What the core orders. The daemon performs each action and reports the outcome as stimuli."""

from workers.records.dataclass import dataclass


@dataclass(frozen=True, slots=True)
class RunAction:
    """An action on one run."""

    run_id: str


@dataclass(frozen=True, slots=True)
class Launch(RunAction):
    """Take the owner lock and start a worker."""


@dataclass(frozen=True, slots=True)
class StopWorker(RunAction):
    """Ask the worker to end the run; ``detail`` is the status_detail of its verdict."""

    detail: str


@dataclass(frozen=True, slots=True)
class KillLeftovers(RunAction):
    """Kill the run's remaining processes, its worker included, once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteVerdict:
    """Take the owner lock, read the journal again, append the verdict unless it has one."""

    run_id: str
    status: str
    detail: str
    reason: str
    leftover_pids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class WriteManifest(RunAction):
    """Project the journal into the manifest; ``owed``: why the task's state still lacks the run."""

    owed: str | None = None


@dataclass(frozen=True, slots=True)
class Record(RunAction):
    """Write the final manifest and append the run to its task's history."""


@dataclass(frozen=True, slots=True)
class WriteSnapshot:
    """Try the task's lock once; if it is free, rewrite the task's state."""

    task_id: str


@dataclass(frozen=True, slots=True)
class ReportOwed:
    """All bounded attempts at the task's lock failed: its snapshot is owed from now on."""

    task_id: str
    attempts: int
    reason: str


@dataclass(frozen=True, slots=True)
class ReleaseMarker(RunAction):
    """Remove the run's marker: history and state contain the run."""


Action = (
    Launch
    | StopWorker
    | KillLeftovers
    | WriteVerdict
    | WriteManifest
    | Record
    | WriteSnapshot
    | ReportOwed
    | ReleaseMarker
)

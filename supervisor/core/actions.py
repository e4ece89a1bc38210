"""What the core asks the shell to do. The shell performs each and reports with stimuli."""

from workers.records.dataclass import dataclass


@dataclass(frozen=True, slots=True)
class Launch:
    """Take the owner lock and start a worker."""

    run_id: str


@dataclass(frozen=True, slots=True)
class StopWorker:
    """Tell the worker to end the run with ``detail``."""

    run_id: str
    detail: str


@dataclass(frozen=True, slots=True)
class KillLeftovers:
    """Kill what is left of the run's processes, its worker included; one round."""

    run_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteVerdict:
    """Take the owner lock, look again, append the verdict."""

    run_id: str
    status: str
    detail: str
    reason: str
    leftover_pids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class WriteManifest:
    """Project the journal into the manifest; ``owed`` says why the task's state still lacks it."""

    run_id: str
    owed: str | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """Write the terminal manifest and append the run to its task's history."""

    run_id: str


@dataclass(frozen=True, slots=True)
class WriteSnapshot:
    """Try the task's lock once; where it is got, rewrite the task's state."""

    task_id: str


@dataclass(frozen=True, slots=True)
class ReportOwed:
    """The bounded attempts at the task's lock are used up: its snapshot is owed from now on."""

    task_id: str
    attempts: int
    reason: str


@dataclass(frozen=True, slots=True)
class ReleaseMarker:
    """Remove the run's marker: history and state hold it."""

    run_id: str


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

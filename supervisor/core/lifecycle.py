"""The life of a run: states that carry their facts, and one table of legal moves.

Rule 1: every change of a run's state goes through ``move_run``. Rule 2: this module knows no file,
no process and no clock. A move that is not in the table raises with the run's moves so far, and
nothing is half done.

* queued: accepted, waiting for a slot.
* starting: a worker was launched under the owner lock; its journal does not say so yet.
* running: the worker's journal says that it started.
* stopping: the worker was asked to end the run and is ending its stages.
* clearing: no worker can finish the run; its remaining processes are being killed.
* judged: the supervisor has decided the verdict and is writing it to the journal.
* ended: the verdict is in the journal; manifest and history are being written.
* recorded: manifest and history contain the run; the snapshot of the task's state follows.
"""

from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from typing import Any, Final

from supervisor.core.policy.liveness import Liveness
from supervisor.errors import IllegalMoveError
from workers.records.dataclass import dataclass

MOVES_LIMIT: Final = 16  # a whole life with retried launches


class Move(StrEnum):
    """What can happen to a run."""

    LAUNCH = "launch"
    RETRY_LAUNCH = "retry_launch"
    START = "start"
    STOP = "stop"
    LOSE = "lose"
    JUDGE = "judge"
    END = "end"
    RECORD = "record"


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued:
    """``not_before_mono_s`` delays a retried launch."""

    not_before_mono_s: float = 0.0
    launches_count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Starting:
    """``launches_count`` includes this one."""

    since_mono_s: float
    launches_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """The worker runs stages."""

    since_mono_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopping:
    """``detail`` is the status_detail of the coming verdict."""

    since_mono_s: float
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Clearing:
    """``status``, ``detail`` and ``reason`` are those of the coming verdict."""

    since_mono_s: float
    status: str
    detail: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """The supervisor's verdict, not on disk yet.

    Attributes:
        leftover_pids: processes that have survived the killing so far.
        write_at_mono_s: when to write it, or to retry.
        refused: why the last attempt to write it failed, None if none did.
    """

    status: str
    detail: str
    reason: str
    leftover_pids: tuple[int, ...] = ()
    write_at_mono_s: float = 0.0
    refused: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The verdict is on disk; manifest and history are written as a Judged verdict is."""

    status: str
    detail: str | None
    write_at_mono_s: float = 0.0
    refused: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """Manifest and history contain the run.

    Attributes:
        owed: the bounded attempts to write the task's snapshot failed.
        settled: the snapshot is written; the run leaves when none of its processes is left.
    """

    status: str
    detail: str | None
    owed: bool = False
    settled: bool = False


State = Queued | Starting | Running | Stopping | Clearing | Judged | Ended | Recorded

TABLE: Final[Mapping[type, Mapping[Move, type]]] = {
    Queued: {Move.LAUNCH: Starting, Move.JUDGE: Judged, Move.END: Ended},
    Starting: {
        Move.START: Running,
        Move.RETRY_LAUNCH: Queued,
        Move.STOP: Stopping,
        Move.LOSE: Clearing,
        Move.JUDGE: Judged,
        Move.END: Ended,
    },
    Running: {Move.STOP: Stopping, Move.LOSE: Clearing, Move.END: Ended},
    Stopping: {Move.LOSE: Clearing, Move.END: Ended},
    Clearing: {Move.JUDGE: Judged, Move.END: Ended},
    Judged: {Move.END: Ended},
    Ended: {Move.RECORD: Recorded},
    Recorded: {},
}

LIVE: Final = (Starting, Running, Stopping, Clearing)
WATCHED: Final = (Starting, Running, Stopping)
"""A worker is alive or is being started: its heartbeat is judged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Killing:
    """Processes of a run may be alive and are being killed, also after its verdict.

    Attributes:
        next_mono_s: when to kill again.
        give_up_mono_s: when to stop killing and let the run leave.
    """

    next_mono_s: float
    give_up_mono_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of the fleet.

    Attributes:
        parent_run_id: the run whose stage requested it.
        priority: the higher starts first.
        group: the concurrency group that it counts against.
        dependencies: the runs that have yet to succeed before it starts.
        number: its position in the order of acceptance.
        host: the other host that its worker is on; None for this host, or not known yet.
        waited_for: a ``supervisor run`` waits for it or its parent.
        nested_in: the run in one of whose stages it was submitted; None for most runs.
        on_loan: it uses the slot of the run that it is nested in.
        age_from_mono_s: the heartbeat's age counts from here until it moves (Fleet.beats).
        hung_scans_count: scans in a row that judged it hung.
        killing: None unless its remaining processes are being killed.
        moves: the moves so far, newest last.
    """

    run_id: str
    task_id: str
    state: State
    parent_run_id: str | None = None
    priority: int = 0
    group: str | None = None
    dependencies: tuple[str, ...] = ()
    number: int = 0
    host: str | None = None
    waited_for: bool = False
    nested_in: str | None = None
    on_loan: bool = False
    age_from_mono_s: float = 0.0
    liveness: Liveness = Liveness.FRESH
    hung_scans_count: int = 0
    killing: Killing | None = None
    moves: tuple[str, ...] = ()

    @property
    def needs_slot(self) -> bool:
        """False for a sub-pipeline's run, which runs within its parent's slot."""
        return self.parent_run_id is None

    @property
    def refused(self) -> str | None:
        """Why the last attempt to write its verdict or record failed, None if none did."""
        return self.state.refused if isinstance(self.state, Judged | Ended) else None


def move_run(run: Run, move: Move, state: State, **values: Any) -> Run:  # noqa: ANN401 - Run's fields
    """The run after a move to ``state``, with other fields changed to ``values``.

    Raises:
        IllegalMoveError: the table does not allow this move.
    """
    if TABLE[type(run.state)].get(move) is not type(state):
        raise IllegalMoveError(
            run_id=run.run_id,
            state=type(run.state).__name__.lower(),
            stimulus=str(move),
            story=" > ".join(run.moves),
        )
    return replace(run, state=state, moves=(*run.moves, str(move))[-MOVES_LIMIT:], **values)

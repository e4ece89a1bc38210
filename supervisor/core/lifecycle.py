"""The life of a run as the supervisor sees it: states that carry their facts, and one table.

Rule 1: everything that changes a run's state goes through ``move``. Rule 2: this module knows no
file, no process and no clock. A move that the table does not hold raises, with the story that led
to it, and nothing is half done.

* queued: accepted, waiting for a slot.
* starting: a worker was launched under the owner lock and has not yet said so in the journal.
* running: the worker's journal says that it started.
* stopping: the worker was asked to end the run and is ending its stage.
* clearing: no worker can finish the run; what is left of its processes is being killed.
* judged: the supervisor has decided the verdict and has yet to write it to the journal.
* ended: the verdict is in the journal; manifest and history follow.
* recorded: manifest and history hold it; the snapshot of the task's state follows, then it leaves.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from supervisor.core.policy.liveness import Liveness
from supervisor.errors import IllegalMoveError
from workers.records.dataclass import dataclass

STORY_MOVES_COUNT: Final = 16  # enough for a whole life with retries of its launch


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
    """Waiting for a slot; ``not_before_mono_s`` holds a retried launch back."""

    not_before_mono_s: float = 0.0
    launches_count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Starting:
    """Launched, not yet heard of."""

    since_mono_s: float
    launches_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """At work."""

    since_mono_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopping:
    """Asked to end; ``detail`` is the status_detail of its coming verdict."""

    since_mono_s: float
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Clearing:
    """Being killed; ``status``, ``detail`` and ``reason`` are its coming verdict."""

    since_mono_s: float
    status: str
    detail: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """The supervisor's verdict, not yet on disk; ``leftover_pids`` survived the killing so far."""

    status: str
    detail: str
    reason: str
    leftover_pids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The verdict is on disk."""

    status: str
    detail: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """In manifest and history; ``owed`` while its snapshot could not be written."""

    status: str
    detail: str | None
    owed: bool = False


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
"""A worker is at work, or is to be: how alive it looks is of interest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of the fleet.

    Attributes:
        parent_run_id: the run whose stage asked for it.
        priority: the higher starts first.
        group: the concurrency group that it counts against.
        dependencies: the runs that must have succeeded before it starts, and have not yet.
        number: its place in the order of acceptance.
        host: the other host that its worker is on; None where it is on ours, or not known.
        waited_for: somebody's ``supervisor run`` waits for it (or its parent's).
        nested_in: the run in one of whose stages it was asked for; None for most runs.
        on_loan: it runs in the place of the run that it is nested in.
        age_from_mono_s: from when on its heartbeat is waited for, where it has not moved since
            (Fleet.beats), on our monotonic clock.
        liveness: the word that liveness.judge found.
        hung_scans_count: looks in a row that found it hung.
        retry_mono_s: when to write verdict or record (again).
        refused: why the last try to write verdict or record failed, None where it did not.
        remains: processes of it may still be alive and are being killed.
        clear_mono_s: when to kill the next round of them.
        give_up_mono_s: when to kill no more and let the run go.
        settled: history and state hold it; it leaves when nothing of it remains.
        story: the moves so far, newest last.
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
    retry_mono_s: float = 0.0
    refused: str | None = None
    remains: bool = False
    clear_mono_s: float = 0.0
    give_up_mono_s: float = 0.0
    settled: bool = False
    story: tuple[str, ...] = ()

    @property
    def needs_slot(self) -> bool:
        """False for a sub-pipeline's run, which waits within its parent's slot."""
        return self.parent_run_id is None


def check(run: Run, move: Move, state: State) -> None:
    """Raise IllegalMoveError unless ``move`` leads from the run's state to ``state``."""
    if TABLE[type(run.state)].get(move) is not type(state):
        raise IllegalMoveError(
            run_id=run.run_id,
            state=type(run.state).__name__.lower(),
            stimulus=str(move),
            story=" > ".join(run.story),
        )


def next_story(run: Run, move: Move) -> tuple[str, ...]:
    """The run's story with one more move."""
    return (*run.story, str(move))[-STORY_MOVES_COUNT:]

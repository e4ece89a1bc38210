"""What the daemon holds of one live run, and the interface of the ways to start its worker."""

from collections.abc import Iterable
from typing import Protocol

from supervisor.core.lifecycle import Run
from supervisor.core.stimuli import Accepted, Stimulus
from supervisor.daemon.process_table import works_on
from supervisor.launchers.placement_record import Placement
from supervisor.launchers.spawner import LaunchedWorker
from supervisor.store.run_reader import RunReader
from workers.processes.tree import Process
from workers.records.dataclass import dataclass
from workers.records.identity import Identity, is_of_this_boot
from workers.records.spec import RunSpec


@dataclass(frozen=True, slots=True)
class Observation:
    """What one scan saw of a run.

    Attributes:
        news: new facts, and what they mean.
        beat: the heartbeat has moved; None if the run has no worker that could beat, or was not
            due.
        is_stopped: the worker is late because somebody stopped it (state T).
        losses: the worker is gone. The core must hear of it after the heartbeats.
    """

    news: Iterable[Stimulus] = ()
    beat: bool | None = None
    is_stopped: bool = False
    losses: Iterable[Stimulus] = ()


@dataclass(slots=True, kw_only=True)
class RunHandle:
    """Everything the daemon holds of one live run, from acceptance to settlement.

    Attributes:
        reader: reads what the worker writes.
        launcher: what starts, observes and stops the worker.
        worker: the process of this host that is watched: the worker, or the keeper of a run that
            its caller hosts; None if there is none.
        is_child: this supervisor started the worker, so what it leaves comes to us.
        proven: the worker's identity, if it was ever seen alive.
        placement: the newest attempt that was placed with an engine or a caller; None if the run
            was never placed.
    """

    reader: RunReader
    launcher: "Launcher"
    worker: LaunchedWorker | None = None
    is_child: bool = False
    proven: Identity | None = None
    placement: Placement | None = None

    @property
    def run_id(self) -> str:
        """The run."""
        return self.reader.spec.run_id

    @property
    def spec(self) -> RunSpec:
        """What was asked for."""
        return self.reader.spec

    def worker_identity(self) -> Identity | None:
        """The worker, past or present: as launched, else as the journal says, if that is proven."""
        found = self.reader.worker
        if self.proven is None and found is not None and works_on(found, self.reader.run.owner):
            self.proven = found
        return self.proven

    def is_of_this_boot(self) -> bool:
        """Tell whether the run began on this host since it booted, so that our clock is its."""
        found = self.reader.worker
        return found is not None and is_of_this_boot(found)


class Launcher(Protocol):
    """A way to start workers. Each method that takes a handle is about that run alone.

    Methods return what the core must hear. None of them blocks. An OSError or TypedError means that
    the disk refuses, and nothing was done. The methods with a body fit a launcher of children.
    """

    @property
    def fd(self) -> int | None:
        """Readable when ``hear`` has something to return; None if that never happens."""
        return None

    def hear(self) -> list[Stimulus]:
        """Read what came on ``fd``."""
        return []

    def tend(self, now_mono_s: float) -> list[Stimulus]:
        """Replace helpers that have died; called at every scan."""
        return []

    def helpers(self) -> tuple[Process, ...]:
        """Our children that are no workers; what is below them belongs to living workers."""
        ...

    def close(self) -> None:
        """Let go of the helpers; workers go on."""

    def launch(self, handle: RunHandle) -> list[Stimulus]:
        """Start the worker, or have it started."""
        ...

    def adopt(self, handle: RunHandle, about: Accepted, *, begun: bool) -> list[Stimulus] | None:
        """Take up a run of an earlier supervisor.

        Args:
            handle: the run.
            about: the run as the core hears of it.
            begun: its records say that it had begun.

        Returns:
            None if this launcher has no part in the run.
        """

    def observe(self, handle: RunHandle, run: Run, *, is_due: bool) -> Observation:
        """Read what is new of a live run.

        Args:
            handle: the run.
            run: its state.
            is_due: a heartbeat interval has passed since this was True last.
        """
        ...

    def check(self, handle: RunHandle) -> list[Stimulus]:
        """Read at once what a hint in the inbox was about."""
        return []

    def exited(self, handle: RunHandle, exit_code: int | None) -> list[Stimulus]:
        """The watched process has exited.

        Args:
            handle: the run.
            exit_code: negative for a signal; None if nobody can tell.
        """
        ...

    def stop(self, handle: RunHandle) -> list[Stimulus]:
        """Ask the worker to end; the reason is in ``cancel.json``."""
        ...

    def withdraw(self, handle: RunHandle) -> list[Stimulus]:
        """Withdraw a run that waits in an engine's queue; nothing if it does not."""
        return []

    def queue_name(self, handle: RunHandle) -> str | None:
        """The engine in whose queue the run waits; None if it waits in none."""
        return None

    def clean_up(self, handle: RunHandle) -> tuple[int, ...]:
        """Kill, once, the worker and whatever is left of the run.

        Returns:
            The pids that were found; empty means that nothing is left.
        """
        ...

    def processes(self, handle: RunHandle) -> set[Process]:
        """Processes of this host that work on the run and are not watched as our workers are."""
        return set()

    def revoke(self, handle: RunHandle) -> bool:
        """Make sure that nobody but the holder of the owner lock can speak for the run.

        Returns:
            True if the lock must be taken before the supervisor writes the verdict.
        """
        return True

    def settle(self, handle: RunHandle) -> None:
        """The run has a verdict: remove what others left half written."""
        return

    def release(self, handle: RunHandle) -> None:
        """The run leaves the fleet."""
        return

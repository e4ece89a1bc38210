"""What the daemon holds for one live run, and the interface of the ways to start its worker."""

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
        news: the stimuli of new facts.
        has_beaten: the heartbeat has moved; None if the run has no worker that could beat, or the
            heartbeat was not due.
        is_stopped: the worker is late because it was stopped or traced (state T).
        losses: the stimuli of a worker that is gone; the core gets them after the heartbeats.
    """

    news: Iterable[Stimulus] = ()
    has_beaten: bool | None = None
    is_stopped: bool = False
    losses: Iterable[Stimulus] = ()


@dataclass(slots=True, kw_only=True)
class RunHandle:
    """Everything the daemon holds for one live run, from acceptance to settlement.

    Attributes:
        reader: reads what the worker writes.
        launcher: starts, observes and stops the worker.
        worker: the process of this host that is watched: the worker, or the keeper of a run that
            its caller hosts; None if there is none.
        is_child: this supervisor started the worker, so the worker's orphans become our children.
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
        """The run as it was requested."""
        return self.reader.spec

    def worker_identity(self) -> Identity | None:
        """The worker, past or present: as launched, else as the journal says, if that is proven."""
        named = self.reader.worker
        if self.proven is None and named is not None and works_on(named, self.reader.run.owner):
            self.proven = named
        return self.proven

    def is_of_this_boot(self) -> bool:
        """Tell whether the run began on this host since it booted, so that our clock is its."""
        worker = self.reader.worker
        return worker is not None and is_of_this_boot(worker)


class Launcher(Protocol):
    """A way to start workers. A method that takes a handle concerns that run alone.

    Methods return stimuli for the core. None of them blocks. OSError and TypedError mean that the
    disk refused and nothing was done. The defaults fit a launcher of child processes.
    """

    @property
    def fd(self) -> int | None:
        """Readable if ``receive`` has something to return; None if it never has."""
        return None

    def receive(self) -> list[Stimulus]:
        """Read what arrived on ``fd``."""
        return []

    def maintain(self, now_mono_s: float) -> list[Stimulus]:
        """Replace helpers that have died; called at every scan."""
        return []

    def helpers(self) -> tuple[Process, ...]:
        """Our children that are not workers; their descendants belong to living workers."""
        ...

    def close(self) -> None:
        """End the helpers; workers continue."""

    def launch(self, handle: RunHandle) -> list[Stimulus]:
        """Start the worker, or request its start."""
        ...

    def adopt(self, handle: RunHandle, about: Accepted, *, begun: bool) -> list[Stimulus] | None:
        """Take over a run of an earlier supervisor; ``begun``: its records say that it had begun.

        Returns:
            The stimuli, ``Adopted(about)`` first; None if this launcher has no part in the run.
        """

    def observe(self, handle: RunHandle, run: Run, *, is_due: bool) -> Observation:
        """Read what is new about a live run; ``is_due``: its heartbeat is due, too."""
        ...

    def check(self, handle: RunHandle) -> list[Stimulus]:
        """Read a run at once because of a hint in the inbox."""
        return []

    def exited(self, handle: RunHandle, exit_code: int | None) -> list[Stimulus]:
        """Handle the exit of the watched process: negative for a signal, None if unknown."""
        ...

    def stop(self, handle: RunHandle) -> list[Stimulus]:
        """Ask the worker to end; the reason is in ``cancel.json``."""
        ...

    def withdraw(self, handle: RunHandle) -> list[Stimulus]:
        """Withdraw a run that waits in an engine's queue; does nothing for any other run."""
        return []

    def queue_name(self, handle: RunHandle) -> str | None:
        """The engine in whose queue the run waits; None if it waits in none."""
        return None

    def clean_up(self, handle: RunHandle) -> tuple[int, ...]:
        """Kill, once, every process of the run; returns their pids, empty if nothing is left."""
        ...

    def processes(self, handle: RunHandle) -> set[Process]:
        """Processes of this host that work on the run and are not watched."""
        return set()

    def revoke(self, handle: RunHandle) -> bool:
        """Stop a remote worker from writing; False if the verdict needs no owner lock then."""
        return True

    def settle(self, handle: RunHandle) -> None:
        """Remove incomplete files of a run that has a verdict."""
        return

    def release(self, handle: RunHandle) -> None:
        """Drop a run that leaves the fleet."""
        return

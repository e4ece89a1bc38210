"""What the shell works with: the effects, and what it holds of each run while it lives."""

from collections.abc import Iterable
from dataclasses import field
from typing import Protocol

from supervisor.core.policy.exit_codes import FinishedRun
from supervisor.daemon.hooks.runner import Hooks
from supervisor.daemon.metrics_textfile import MetricsTextfile
from supervisor.daemon.process_table import works_on
from supervisor.daemon.sd_notify import Notifier
from supervisor.daemon.watcher import Watcher
from supervisor.launchers.caller_placer import CallerPlacer
from supervisor.launchers.engine_client import EngineClient
from supervisor.launchers.placement_record import Placement
from supervisor.launchers.spawner import LaunchedWorker, Spawner
from supervisor.report.read.run_rows import Row
from supervisor.store.intake import Intake
from supervisor.store.lease import Lease
from supervisor.store.log import Log
from supervisor.store.pause_file import PauseFile
from supervisor.store.persistence import PersistenceCoordinator
from supervisor.store.quarantine import Quarantine
from supervisor.store.run_reader import RunReader
from supervisor.store.size_poller import SizePoller
from workers.processes.tree import Process
from workers.records.clock import Clock
from workers.records.dataclass import dataclass
from workers.records.identity import Identity, is_of_this_boot
from workers.records.layout import Layout
from workers.records.placement import CALLER
from workers.records.request import Request
from workers.records.spec import RunSpec


class Reporter(Protocol):
    """Who tells the operator. Every method must return at once and must not raise."""

    def accepted(self, spec: RunSpec) -> None:
        """A run is queued."""

    def launched(self, spec: RunSpec) -> None:
        """A run has a worker."""

    def adopted(self, spec: RunSpec) -> None:
        """A run was found with the worker that an earlier supervisor gave it."""

    def finished(self, run: FinishedRun) -> None:
        """A run is in manifest and history."""

    def note(self, text: str) -> None:
        """Something that a person should know."""

    def update_rows(self, rows: Iterable[Row]) -> None:
        """How far the runs are that are under way; after every scan."""

    def tick(self) -> None:
        """A turn of the loop has ended."""


@dataclass(frozen=True, slots=True)
class HalfTaken:
    """A request of the inbox of whose runs so many are accepted: it goes on at the next turn."""

    path: str
    request: Request
    accepted_count: int


@dataclass(slots=True, kw_only=True)
class DaemonContext:
    """The effects and the books of one engine.

    Attributes:
        readers: every run of the fleet, by run id.
        workers: the workers of this host that we watch, by run id.
        started: the runs whose worker we have started ourselves.
        proven: every worker that we knew alive, by run id, for as long as its run is ours.
        strangers: children that we had before we started anything; of no run.
        placer: hands runs to an engine of other hosts; None where workers are started here.
        callers: places the runs that their callers host.
        placements: the runs that an engine or a caller may begin or has begun, by run id.
        unreadable: accepted runs that could not be taken up, by run id, and why.
        aside: makes room where something else stands in a record's place.
        lease: our claim to the root.
        holds: what the operator has paused.
        hooks: what is started when runs have ended.
        textfile: the figures for a collector.
        notifier: tells the service manager that started us.
        durability: "full", or what of it this file system cannot give.
        glance: tells which journals have grown.
        news_count: how often new facts of a run were read.
        kept_requests: requests of a later version that stay in the inbox, as far as we said so.
        half_taken: the request that is done a few runs at a time, None where none is.
    """

    layout: Layout
    clock: Clock
    launcher: Spawner
    intake: Intake
    persistence: PersistenceCoordinator
    watcher: Watcher
    log: Log
    reporter: Reporter
    aside: Quarantine
    lease: Lease
    holds: PauseFile
    hooks: Hooks
    textfile: MetricsTextfile
    notifier: Notifier = field(default_factory=Notifier)
    durability: str = "full"
    glance: SizePoller = field(default_factory=SizePoller)
    news_count: int = 0
    half_taken: HalfTaken | None = None
    kept_requests: set[str] = field(default_factory=set)
    readers: dict[str, RunReader] = field(default_factory=dict)
    workers: dict[str, LaunchedWorker] = field(default_factory=dict)
    started: set[str] = field(default_factory=set)
    proven: dict[str, Identity] = field(default_factory=dict)
    strangers: frozenset[Process] = frozenset()
    placer: EngineClient | None = None
    callers: CallerPlacer
    placements: dict[str, Placement] = field(default_factory=dict)

    def launched(self, run_id: str, worker: LaunchedWorker) -> None:
        """A worker was started by us."""
        self.workers[run_id] = worker
        self.started.add(run_id)
        self.proven[run_id] = Identity(
            host=self.mine.host,
            boot_id=self.mine.boot_id,
            pid=worker.pid,
            start_ticks=worker.start_ticks,
        )

    unreadable: dict[str, str] = field(default_factory=dict)

    @property
    def mine(self) -> Identity:
        """Our own identity."""
        return self.lease.identity

    def worker_identity(self, run_id: str) -> Identity | None:
        """Who works or worked on a run: what we launched, else what the journal says and is so."""
        if run_id not in self.proven:
            reader = self.readers[run_id]
            found = reader.worker
            if found is None or not works_on(found, reader.run.owner):
                return None
            self.proven[run_id] = found
        return self.proven[run_id]

    def placer_of(self, run_id: str) -> EngineClient | CallerPlacer | None:
        """What a run is placed with; None if its worker is started by the launcher."""
        return self.callers if self.readers[run_id].spec.launcher == CALLER else self.placer

    def known_pids(self) -> set[int]:
        """The processes whose end we see otherwise: workers, hooks and an engine's agent."""
        hooks = (pid for pid, _ in self.hooks.processes())
        agents = (pid for pid, _ in self.agents())
        return {*hooks, *agents, *(worker.pid for worker in self.workers.values())}

    def agents(self) -> tuple[Process, ...]:
        """The process that talks to an engine for us, where there is one."""
        return () if self.placer is None else self.placer.helpers()

    def same_boot(self, run_id: str) -> bool:
        """Tell whether a run was begun on this host since it booted, so that our clock is its."""
        found = self.readers[run_id].worker
        return found is not None and is_of_this_boot(found)

    def began_elsewhere(self, run_id: str) -> bool:
        """Tell whether a run began in the root that this one is a copy of."""
        began_in = self.readers[run_id].root_id
        return self.same_boot(run_id) and began_in not in (None, self.lease.root_id)

    def forget(self, run_id: str) -> None:
        """A run has left the fleet."""
        reader = self.readers.pop(run_id, None)
        if reader is not None:
            reader.close()
        self.proven.pop(run_id, None)
        self.started.discard(run_id)
        placement = self.placements.pop(run_id, None)
        if reader is not None and reader.spec.launcher == CALLER:
            self.callers.forget(f"{run_id}.0")
        elif placement is not None and self.placer is not None:
            self.placer.forget(placement.key)

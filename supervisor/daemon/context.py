"""What the daemon works with: the effects, and a handle for each live run."""

from collections.abc import Iterable
from dataclasses import field
from typing import Protocol

from supervisor.core.policy.exit_codes import FinishedRun
from supervisor.daemon.hooks.runner import Hooks
from supervisor.daemon.metrics_textfile import MetricsTextfile
from supervisor.daemon.run_handle import Launcher, RunHandle
from supervisor.daemon.sd_notify import Notifier
from supervisor.daemon.watcher import Watcher
from supervisor.launchers.spawner import LaunchedWorker
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
from workers.records.identity import Identity
from workers.records.layout import Layout
from workers.records.placement import CALLER
from workers.records.request import Request
from workers.records.spec import RunSpec


class Reporter(Protocol):
    """Reports to the operator. Every method must return at once and must not raise."""

    def accepted(self, spec: RunSpec) -> None:
        """A run is queued."""

    def launched(self, spec: RunSpec) -> None:
        """A run has a worker."""

    def adopted(self, spec: RunSpec) -> None:
        """A run was found with the worker that an earlier supervisor started."""

    def finished(self, run: FinishedRun) -> None:
        """A run is in manifest and history."""

    def note(self, text: str) -> None:
        """Something that a person should know."""

    def update_rows(self, rows: Iterable[Row]) -> None:
        """The progress of running runs; after every scan."""

    def tick(self) -> None:
        """A turn of the loop has ended."""


@dataclass(frozen=True, slots=True)
class HalfTaken:
    """A request of the inbox with more runs than one turn accepts; it goes on at the next turn."""

    path: str
    request: Request
    accepted_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Launchers:
    """The ways to start workers, as this supervisor is configured.

    Attributes:
        local: starts workers on this host.
        callers: places runs with the callers that host them.
        configured: what the settings say: ``local``, or an engine.
        others: observes runs that were placed with an engine that is no longer configured.
    """

    local: Launcher
    callers: Launcher
    configured: Launcher
    others: Launcher

    def of(self, spec: RunSpec) -> Launcher:
        """What starts the worker of a run."""
        return self.callers if spec.launcher == CALLER else self.configured

    def adopters(self, spec: RunSpec) -> tuple[Launcher, ...]:
        """What may have started the worker of a run under an earlier supervisor, in this order."""
        placed = (one for one in (self.of(spec), self.others) if one is not self.local)
        return (*placed, self.local)

    def all(self) -> tuple[Launcher, ...]:
        """Each launcher once."""
        return tuple(dict.fromkeys((self.local, self.configured, self.callers)))


@dataclass(slots=True, kw_only=True)
class DaemonContext:
    """The effects of one supervisor, and its live runs.

    Attributes:
        runs: every run of the fleet, by run id.
        exiting: workers whose run has left the fleet before they exited, by run id.
        launchers: the ways to start workers; set once, by ``build``.
        strangers: children that we had before we started anything; of no run.
        unreadable: accepted runs that could not be taken up, by run id, and the reasons.
        quarantine: makes room if something else is in a record's place.
        lease: our claim to the root.
        pause_file: what the operator has paused.
        hooks: starts hooks when runs have ended.
        textfile: writes figures for a collector.
        notifier: informs the service manager that started us.
        durability: "full", or what of it this file system cannot give.
        glance: finds the journals that have grown.
        news_count: how often new facts of a run were read.
        kept_requests: requests of a later version that stay in the inbox and were reported.
        half_taken: the request that is accepted a few runs at a time; None if there is none.
    """

    layout: Layout
    clock: Clock
    intake: Intake
    persistence: PersistenceCoordinator
    watcher: Watcher
    log: Log
    reporter: Reporter
    quarantine: Quarantine
    lease: Lease
    pause_file: PauseFile
    hooks: Hooks
    textfile: MetricsTextfile
    notifier: Notifier = field(default_factory=Notifier)
    durability: str = "full"
    strangers: frozenset[Process] = frozenset()
    glance: SizePoller = field(default_factory=SizePoller)
    news_count: int = 0
    half_taken: HalfTaken | None = None
    kept_requests: set[str] = field(default_factory=set)
    unreadable: dict[str, str] = field(default_factory=dict)
    runs: dict[str, RunHandle] = field(default_factory=dict)
    exiting: dict[str, LaunchedWorker] = field(default_factory=dict)
    launchers: Launchers = field(init=False)

    @property
    def mine(self) -> Identity:
        """Our own identity."""
        return self.lease.identity

    def add(self, reader: RunReader) -> RunHandle:
        """A run was accepted, or found accepted."""
        spec = reader.spec
        handle = RunHandle(reader=reader, launcher=self.launchers.of(spec))
        self.runs[spec.run_id] = handle
        return handle

    def workers(self) -> dict[str, LaunchedWorker]:
        """The processes that are watched, by run id."""
        live = {name: h.worker for name, h in self.runs.items() if h.worker is not None}
        return {**self.exiting, **live}

    def helpers(self) -> set[Process]:
        """Children of ours that belong to no run: zygote, agents, hooks."""
        of_launchers = (one for launcher in self.launchers.all() for one in launcher.helpers())
        return {*of_launchers, *self.hooks.processes()}

    def known_pids(self) -> set[int]:
        """The children whose end we see otherwise."""
        return {
            *(pid for pid, _ in self.helpers()),
            *(worker.pid for worker in self.workers().values()),
        }

    def began_elsewhere(self, handle: RunHandle) -> bool:
        """Tell whether a run began in the root that this one is a copy of."""
        began_in = handle.reader.root_id
        return handle.is_of_this_boot() and began_in not in (None, self.lease.root_id)

    def forget(self, run_id: str) -> None:
        """A run has left the fleet."""
        handle = self.runs.pop(run_id, None)
        if handle is None:
            return
        handle.reader.close()
        handle.launcher.release(handle)
        if handle.worker is not None:
            self.exiting[run_id] = handle.worker

"""What the daemon works with: its effects, and a handle for each live run."""

from dataclasses import field

from supervisor.daemon.hooks.runner import Hooks
from supervisor.daemon.metrics_textfile import MetricsTextfile
from supervisor.daemon.run_handle import Launcher, RunHandle
from supervisor.daemon.sd_notify import Notifier
from supervisor.daemon.watcher import Watcher
from supervisor.launchers.spawner import LaunchedWorker
from supervisor.report.terminal.reporters import CountingReporter
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


@dataclass(frozen=True, slots=True)
class PartialRequest:
    """A request with more runs than one turn accepts; the next turn continues it."""

    path: str
    request: Request
    accepted_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Launchers:
    """The ways to start workers, as this supervisor is configured.

    Attributes:
        local: starts workers on this host.
        callers: places runs with the callers that host them.
        configured: ``local``, or the engine of the settings.
        others: observes runs that were placed with an engine that is no longer configured.
    """

    local: Launcher
    callers: Launcher
    configured: Launcher
    others: Launcher

    def of(self, spec: RunSpec) -> Launcher:
        """The launcher that starts the worker of a run."""
        return self.callers if spec.launcher == CALLER else self.configured

    def adopters(self, spec: RunSpec) -> tuple[Launcher, ...]:
        """The launchers that may know the worker of an earlier supervisor's run, in this order."""
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
        inherited_children: children that this process had before it started any; of no run.
        unreadable: accepted runs that could not be recovered, by run id, and the reasons.
        durability: "full", or the part of it that this file system provides.
        size_poller: finds the journals that have grown.
        news_count: number of reads that found new facts.
        newer_requests: requests of a later version that stay in the inbox and were reported.
        partial_request: the request that is accepted a few runs per turn; None if there is none.
    """

    layout: Layout
    clock: Clock
    intake: Intake
    persistence: PersistenceCoordinator
    watcher: Watcher
    log: Log
    reporter: CountingReporter
    quarantine: Quarantine
    lease: Lease
    pause_file: PauseFile
    hooks: Hooks
    textfile: MetricsTextfile
    notifier: Notifier = field(default_factory=Notifier)
    durability: str = "full"
    inherited_children: frozenset[Process] = frozenset()
    size_poller: SizePoller = field(default_factory=SizePoller)
    news_count: int = 0
    partial_request: PartialRequest | None = None
    newer_requests: set[str] = field(default_factory=set)
    unreadable: dict[str, str] = field(default_factory=dict)
    runs: dict[str, RunHandle] = field(default_factory=dict)
    exiting: dict[str, LaunchedWorker] = field(default_factory=dict)
    launchers: Launchers = field(init=False)

    @property
    def identity(self) -> Identity:
        """This supervisor's process."""
        return self.lease.identity

    def add(self, reader: RunReader) -> RunHandle:
        """Create the handle of an accepted run."""
        spec = reader.spec
        handle = RunHandle(reader=reader, launcher=self.launchers.of(spec))
        self.runs[spec.run_id] = handle
        return handle

    def remove(self, run_id: str) -> None:
        """Close the handle of a run that has left the fleet."""
        handle = self.runs.pop(run_id, None)
        if handle is None:
            return
        handle.reader.close()
        handle.launcher.release(handle)
        if handle.worker is not None:
            self.exiting[run_id] = handle.worker

    def workers(self) -> dict[str, LaunchedWorker]:
        """The processes that are watched, by run id."""
        live = {name: h.worker for name, h in self.runs.items() if h.worker is not None}
        return {**self.exiting, **live}

    def helpers(self) -> set[Process]:
        """Children of ours that belong to no run: zygote, agents, hooks."""
        of_launchers = (one for launcher in self.launchers.all() for one in launcher.helpers())
        return {*of_launchers, *self.hooks.processes()}

    def known_pids(self) -> set[int]:
        """The children that are reaped by their owners."""
        watched = (worker.pid for worker in self.workers().values())
        return {*(pid for pid, _ in self.helpers()), *watched}

    def close(self) -> None:
        """End the helpers and release the lease; workers continue. Call once, at the end."""
        for launcher in self.launchers.all():
            launcher.close()
        self.watcher.close()
        self.persistence.close()
        self.lease.release()

    def began_elsewhere(self, handle: RunHandle) -> bool:
        """Tell whether a run began in the root that this one is a copy of."""
        began_in = handle.reader.root_id
        return handle.is_of_this_boot() and began_in not in (None, self.lease.root_id)

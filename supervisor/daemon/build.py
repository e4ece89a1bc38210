"""The one module that constructs a supervisor and joins its parts; ``main`` starts it."""

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from typing import Final

from supervisor.config.settings import Settings, limits_of
from supervisor.core.fleet import Fleet
from supervisor.daemon.config_reloader import Reloaded, ReloadRefused, rules_of
from supervisor.daemon.context import DaemonContext, Launchers
from supervisor.daemon.hooks.runner import Hooks
from supervisor.daemon.local_launcher import LocalLauncher
from supervisor.daemon.loop import Supervisor
from supervisor.daemon.metrics_textfile import MetricsTextfile
from supervisor.daemon.placed_launcher import PlacedLauncher
from supervisor.daemon.repair_records import Repair
from supervisor.daemon.sd_notify import Notifier
from supervisor.daemon.shutdown import ExitCondition
from supervisor.daemon.watcher import Watcher
from supervisor.launchers.engine_client import EngineClient
from supervisor.launchers.placer import CallerPlacer, FormerPlacer
from supervisor.launchers.spawner import Spawner, runs_at_once
from supervisor.report.terminal.reporters import CountingReporter
from supervisor.store.intake import Intake
from supervisor.store.lease import Lease, take_lease
from supervisor.store.log import Log
from supervisor.store.pause_file import PauseFile
from supervisor.store.persistence import PersistenceCoordinator
from supervisor.store.quarantine import Quarantine
from workers.records.clock import Clock, SystemClock
from workers.records.layout import Layout

AGENTS: Final[dict[str, tuple[str, ...]]] = {
    "dask": (sys.executable, "-I", "-m", "supervisor.launchers.agents.dask_agent"),
    "slurm": (sys.executable, "-I", "-m", "supervisor.launchers.agents.slurm_agent"),
}
"""The agents of the engines that place runs on other hosts, by the name of the setting."""


def workers_log(layout: Layout) -> str:
    """The file for the stderr of workers and helpers."""
    return os.path.join(layout.control, "workers.log")


def build_quarantine(log: Log, note: Callable[[str], None] = lambda _: None) -> Quarantine:
    """Build what moves foreign files out of the way of records."""

    def report(path: str, reason: str, target: str) -> None:
        log.write("set_aside", path=path, why=reason, now_at=target)
        note(f"{path} {reason}; it was quarantined as {os.path.basename(target)}")

    return Quarantine(report)


def _persistence(
    layout: Layout, settings: Settings, clock: Clock, quarantine: Quarantine
) -> PersistenceCoordinator:
    return PersistenceCoordinator(
        layout,
        history_limit=settings.history_limit,
        limits=limits_of(settings),
        clock=clock,
        quarantine=quarantine,
    )


@contextlib.contextmanager
def repair_for(layout: Layout, settings: Settings) -> Iterator[Repair]:
    """Take the lease and build a repair; release the lease after the block.

    Raises:
        LeaseHeldError: a supervisor serves the root.
    """
    quarantine, clock = build_quarantine(Log(layout.log)), SystemClock()
    lease = take_lease(layout, command="supervisor repair", quarantine=quarantine)
    try:
        yield Repair(
            layout,
            Intake(layout, clock),
            lambda: _persistence(layout, settings, clock, quarantine),
        )
    finally:
        lease.release()


def build_context(
    layout: Layout,
    settings: Settings,
    *,
    lease: Lease,
    log: Log,
    quarantine: Quarantine,
    reporter: CountingReporter,
    notifier: Notifier,
    spawner: Spawner,
) -> DaemonContext:
    """Build the effects of a supervisor that holds the lease."""
    clock = SystemClock()
    intake = Intake(layout, clock)
    context = DaemonContext(
        layout=layout,
        clock=clock,
        intake=intake,
        persistence=_persistence(layout, settings, clock, quarantine),
        watcher=Watcher(layout.inbox),
        log=log,
        reporter=reporter,
        quarantine=quarantine,
        lease=lease,
        pause_file=PauseFile(layout, quarantine),
        hooks=Hooks(
            layout,
            log,
            reporter.note,
            root_id=lease.root_id,
            sweep=intake.sweep_files,
            timeout_s=settings.hook_timeout_s,
            owed_wait_s=settings.owed_wait_s,
        ),
        textfile=MetricsTextfile(settings.metrics_textfile, layout, log),
        notifier=notifier,
    )
    local = LocalLauncher(context, spawner)
    engine = _engine_client(settings, layout)
    context.launchers = Launchers(
        local=local,
        callers=PlacedLauncher(context, local, CallerPlacer(layout)),
        configured=local if engine is None else PlacedLauncher(context, local, engine),
        others=PlacedLauncher(context, local, FormerPlacer()),
    )
    return context


def _engine_client(settings: Settings, layout: Layout) -> EngineClient | None:
    """The client of the configured engine; None if workers are started on this host."""
    argv = AGENTS.get(settings.launcher)
    if argv is None:
        return None
    options = {
        "dask_scheduler": settings.dask_scheduler,
        "slurm_options": settings.slurm_options,
        "grace_s": settings.grace_s,
    }
    return EngineClient(settings.launcher, argv, json.dumps(options), workers_log(layout))


def build_supervisor(
    context: DaemonContext,
    settings: Settings,
    *,
    until_done: bool,
    reload: Callable[[], Reloaded | ReloadRefused],
) -> Supervisor:
    """Build the supervisor of a context."""
    fleet = Fleet(
        max_runs=runs_at_once(settings.max_runs),
        groups=dict(settings.groups),
        pauses=context.pause_file.pauses,
        only_waited_for=context.lease.is_temporary,
    )
    return Supervisor(
        context,
        fleet,
        rules=rules_of(settings),
        exit_condition=ExitCondition(until_done=until_done, owed_wait_s=settings.owed_wait_s),
        reload=reload,
    )

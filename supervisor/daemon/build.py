"""The one place where things are constructed and joined."""

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from typing import Final

from supervisor.config.settings import Settings, limits_of
from supervisor.core.fleet import Fleet, Rules
from supervisor.core.policy.backoff import Backoff
from supervisor.core.policy.liveness import Ages
from supervisor.daemon.context import DaemonContext, Launchers, Reporter
from supervisor.daemon.hooks.runner import Hooks
from supervisor.daemon.leftovers import our_children
from supervisor.daemon.local_launcher import LocalLauncher
from supervisor.daemon.loop import Supervisor
from supervisor.daemon.metrics_textfile import MetricsTextfile
from supervisor.daemon.placed_launcher import PlacedLauncher
from supervisor.daemon.reload import Reloaded, ReloadRefused
from supervisor.daemon.repair_records import Repair
from supervisor.daemon.sd_notify import Notifier
from supervisor.daemon.shutdown import ExitCondition
from supervisor.daemon.watcher import Watcher
from supervisor.launchers.caller_placer import CallerPlacer
from supervisor.launchers.engine_client import EngineClient
from supervisor.launchers.spawner import ExecSpawner, Spawner, runs_at_once
from supervisor.launchers.zygote_client import ZygoteSpawner
from supervisor.store.intake import Intake
from supervisor.store.lease import Lease, take_lease
from supervisor.store.log import Log
from supervisor.store.pause_file import PauseFile
from supervisor.store.persistence import PersistenceCoordinator
from supervisor.store.quarantine import Quarantine
from workers.processes.process_attributes import become_subreaper
from workers.records.clock import SystemClock
from workers.records.files import sync_dir
from workers.records.layout import Layout

# fault P10: a worker that cannot be started for want of memory or processes is tried again
LAUNCH = Backoff(attempts_count=4, delay_s=0.5, factor=2.0, max_delay_s=5.0)


def rules_of(settings: Settings) -> Rules:
    """The settings that decisions need."""
    return Rules(
        lock=Backoff(
            attempts_count=settings.lock_attempts,
            delay_s=settings.lock_delay_s,
            factor=settings.lock_factor,
            max_delay_s=settings.lock_max_delay_s,
        ),
        launch=LAUNCH,
        ages=Ages(
            interval_s=settings.heartbeat_interval_s,
            stale_after_s=settings.heartbeat_stale_after_s,
            hung_after_s=settings.hung_after_s,
        ),
        grace_s=settings.grace_s,
        manifest_throttle_s=settings.manifest_throttle_s,
    )


AGENTS: Final[dict[str, tuple[str, ...]]] = {
    "dask": (sys.executable, "-I", "-m", "supervisor.launchers.agents.dask_agent"),
    "slurm": (sys.executable, "-I", "-m", "supervisor.launchers.agents.slurm_agent"),
}
"""The agents of the engines that place runs on other hosts, by the name of the setting."""


def engine_client(settings: Settings, stderr_path: str) -> EngineClient | None:
    """What hands runs to an engine; None where workers are started here."""
    words = AGENTS.get(settings.launcher)
    if words is None:
        return None
    options = {
        "dask_scheduler": settings.dask_scheduler,
        "slurm_options": settings.slurm_options,
        "grace_s": settings.grace_s,
    }
    return EngineClient(settings.launcher, words, json.dumps(options), stderr_path)


def _spawner(
    settings: Settings, stderr_path: str, by_fork: ZygoteSpawner, *, is_temporary: bool
) -> Spawner:
    by_exec = ExecSpawner(stderr_path)
    if settings.launcher != "zygote":
        by_fork.close()
        return by_exec
    by_fork.settle(stderr_path, by_exec)
    if not is_temporary:
        with contextlib.suppress(OSError):  # the first launch tries again, and tells
            by_fork.prepare()
    return by_fork


@contextlib.contextmanager
def repair_for(layout: Layout, settings: Settings) -> Iterator[Repair]:
    """Take the lease and build a repair; give the lease back behind the block.

    Args:
        layout: the root.
        settings: all settings.

    Raises:
        LeaseHeldError: a supervisor serves the root.
    """
    log = Log(layout.log)

    def tell(path: str, why: str, now_at: str) -> None:
        log.write("set_aside", path=path, why=why, now_at=now_at)

    quarantine, clock = Quarantine(tell), SystemClock()
    lease = take_lease(layout, command="supervisor repair", quarantine=quarantine)

    def persistence() -> PersistenceCoordinator:
        return PersistenceCoordinator(
            layout,
            history_limit=settings.history_limit,
            limits=limits_of(settings),
            clock=clock,
            quarantine=quarantine,
        )

    try:
        yield Repair(layout, Intake(layout, clock), persistence)
    finally:
        lease.release()


@contextlib.contextmanager
def build_supervisor(
    layout: Layout,
    settings: Settings,
    *,
    command: str,
    reporter: Reporter,
    until_done: bool,
    lease_fd: int | None,
    reload: Callable[[], Reloaded | ReloadRefused],
    notifier: Notifier,
    by_fork: ZygoteSpawner,
) -> Iterator[Supervisor]:
    """Take the lease and build an engine; give the lease back behind the block.

    Args:
        layout: the root.
        settings: all settings.
        command: what the operator typed, for the lease.
        reporter: who tells the operator.
        until_done: leave when nothing is left to do.
        lease_fd: the lease's lock, where the process that started us took it; then only runs that
            somebody waits for are served.
        reload: called on SIGHUP.
        notifier: tells the service manager that started us.
        by_fork: what forks workers; closed behind the block.

    Raises:
        LeaseHeldError: another supervisor serves the root.
    """
    log = Log(layout.log)

    def tell(path: str, why: str, now_at: str) -> None:
        log.write("set_aside", path=path, why=why, now_at=now_at)
        reporter.note(f"{path} {why}; it was set aside as {os.path.basename(now_at)}")

    quarantine = Quarantine(tell)
    lease: Lease = take_lease(layout, command=command, quarantine=quarantine, inherited_fd=lease_fd)
    workers_log = os.path.join(layout.control, "workers.log")
    for path in (layout.log, layout.status, workers_log):
        quarantine.make_room(path, parses=False)
    become_subreaper()
    clock = SystemClock()
    strangers = frozenset(our_children()) - set(by_fork.helpers())
    spawner = _spawner(settings, workers_log, by_fork, is_temporary=lease.is_temporary)
    intake = Intake(layout, clock)
    watcher = Watcher(layout.inbox)
    durability = "full" if sync_dir(layout.control) else "files only"
    if durability != "full":
        reporter.note(
            f"{layout.root}: this file system cannot flush directories: what was accepted is safe "
            "from a crash, and not from a loss of power"
        )
    limits = limits_of(settings)
    pause_file = PauseFile(layout, quarantine)
    if pause_file.warning is not None:
        reporter.note(pause_file.warning)
    context = DaemonContext(
        layout=layout,
        clock=clock,
        intake=intake,
        persistence=PersistenceCoordinator(
            layout,
            history_limit=settings.history_limit,
            limits=limits,
            clock=clock,
            quarantine=quarantine,
        ),
        watcher=watcher,
        log=log,
        reporter=reporter,
        strangers=strangers,
        quarantine=quarantine,
        lease=lease,
        pause_file=pause_file,
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
        durability=durability,
    )
    local = LocalLauncher(context, spawner)
    engine = engine_client(settings, workers_log)
    context.launchers = Launchers(
        local=local,
        callers=PlacedLauncher(context, local, CallerPlacer(layout)),
        configured=local if engine is None else PlacedLauncher(context, local, engine),
        others=PlacedLauncher(context, local),
    )
    max_runs = runs_at_once(settings.max_runs)
    if max_runs < settings.max_runs:
        reporter.note(
            f"at most {max_runs} runs at once, although max_runs = {settings.max_runs}: the limit "
            "of descriptors is too low; 'supervisor doctor' says what it has to be"
        )
    fleet = Fleet(
        max_runs=max_runs,
        groups=dict(settings.groups),
        pauses=pause_file.pauses,
        only_waited_for=lease_fd is not None,
    )
    log.write(
        "supervisor_started", pid=lease.identity.pid, watch=watcher.state, durability=durability
    )
    try:
        yield Supervisor(
            context,
            fleet,
            rules=rules_of(settings),
            errand=ExitCondition(until_done=until_done, owed_wait_s=settings.owed_wait_s),
            reload=reload,
        )
    finally:
        log.write("supervisor_ended", pid=lease.identity.pid)
        for launcher in context.launchers.all():
            launcher.close()
        watcher.close()
        context.persistence.close()
        lease.release()

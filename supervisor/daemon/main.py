"""``supervisor start``: read the configuration, start, supervise, and report the outcome."""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from typing import Any, Final

from supervisor.config.batches import Batch
from supervisor.config.launcher_check import check_launcher
from supervisor.config.load import LoadedConfig, load_config
from supervisor.config.run_specs import SpecBuilder
from supervisor.config.settings import Settings
from supervisor.core.policy.exit_codes import exit_code, worst_exit_code
from supervisor.daemon.build import (
    build_context,
    build_quarantine,
    build_supervisor,
    workers_log,
)
from supervisor.daemon.config_reloader import ConfigReloader
from supervisor.daemon.context import DaemonContext
from supervisor.daemon.loop import Supervisor
from supervisor.daemon.process_table import our_children
from supervisor.daemon.sd_notify import Notifier
from supervisor.daemon.shutdown import Signals
from supervisor.errors import CANNOT_WRITE, UsageError
from supervisor.launchers.spawner import ExecSpawner, Spawner, runs_at_once
from supervisor.launchers.zygote_client import ZygoteSpawner
from supervisor.report.read.run_records import finished_in_batch
from supervisor.report.terminal.reporters import (
    CountingReporter,
    JsonReporter,
    LiveReporter,
    PlainReporter,
)
from supervisor.report.text.output import duration, has_cursor, json_line
from supervisor.report.text.sanitize import clean_line
from supervisor.store.lease import take_lease
from supervisor.store.log import Log
from workers.processes.process_attributes import become_subreaper
from workers.records.dataclass import dataclass
from workers.records.files import sync_dir
from workers.records.request import Request, RequestKind, pending_requests, publish
from workers.records.spec import RunSpec

SHOWN_IDS_COUNT: Final = 5  # ids in one message; 'supervisor status' has them all
FIX: Final = "check the disk and start again"


@dataclass(frozen=True, slots=True, kw_only=True)
class StartOptions:
    """The command line of ``start``; see its help."""

    pipelines: tuple[str, ...]
    once: bool
    batch: str | None
    again: bool
    task: str | None
    params: tuple[str, ...]
    max_runs: int | None
    launcher: str | None
    dask_scheduler: str | None
    lease_fd: int | None
    root: str | None
    config: str | None
    as_json: bool

    @property
    def flags(self) -> dict[str, Any]:
        """The settings that are given; they override every file."""
        keys = ("max_runs", "launcher", "dask_scheduler")
        return {key: value for key in keys if (value := getattr(self, key)) is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """The runs to submit: of the pipelines named, and of a batch."""

    builder: SpecBuilder
    named: list[RunSpec]
    batch: Batch | None


def supervise(options: StartOptions, notifier: Notifier, zygote: ZygoteSpawner) -> int:
    """Supervise until the supervisor exits.

    Args:
        options: the command line.
        notifier: notifies the service manager.
        zygote: forks workers; its zygote may have been started already.

    Returns:
        The exit code.

    Raises:
        ConfigError: the configuration is wrong; nothing was created.
        UsageError: the command line is wrong; nothing was created.
        LeaseHeldError: another supervisor serves the root.
    """
    config = load_config(options.root, options.config, **options.flags)
    if options.dask_scheduler is not None and config.settings.launcher != "dask":
        raise UsageError(reason="--dask-scheduler is for --launcher dask")
    check_launcher(config.settings)
    plan = _plan(config, options)
    reporter = _reporter(options.as_json)
    with (
        _start(config, options, reporter, notifier, zygote) as supervisor,
        Signals() as signals,  # recovery already starts workers
    ):
        try:
            if not options.once:
                reporter.note(
                    f"supervising {config.layout.root} (pid {os.getpid()}); 'supervisor submit' "
                    "adds runs, INT drains, 'supervisor stop' ends it"
                )
            supervisor.recover()
            _submit(config, options, plan, supervisor, reporter)
            supervisor.run(signals)
        finally:
            reporter.close()
    _report_end(config, supervisor, reporter, options)
    if not options.once and supervisor.ended_by is None:
        return 0
    return _exit_code(supervisor)


@contextlib.contextmanager
def _start(
    config: LoadedConfig,
    options: StartOptions,
    reporter: CountingReporter,
    notifier: Notifier,
    zygote: ZygoteSpawner,
) -> Iterator[Supervisor]:
    """Take the lease and start a supervisor; release everything after the block."""
    layout, settings = config.layout, config.settings
    log = Log(layout.log)
    quarantine = build_quarantine(log, reporter.note)
    command = " ".join(["supervisor", *sys.argv[1:]])
    lease = take_lease(
        layout, command=command, quarantine=quarantine, inherited_fd=options.lease_fd
    )
    for path in (layout.log, layout.status, workers_log(layout)):
        quarantine.make_room(path, parses=False)
    become_subreaper()
    inherited_children = frozenset(our_children()) - set(zygote.helpers())
    context = build_context(
        layout,
        settings,
        lease=lease,
        log=log,
        quarantine=quarantine,
        reporter=reporter,
        notifier=notifier,
        spawner=_start_spawner(
            settings, workers_log(layout), zygote, is_temporary=lease.is_temporary
        ),
    )
    context.inherited_children = inherited_children
    context.durability = "full" if sync_dir(layout.control) else "files only"
    _report_limits(context, settings)
    log.write(
        "supervisor_started",
        pid=lease.identity.pid,
        watch=context.watcher.state,
        durability=context.durability,
    )
    try:
        yield build_supervisor(
            context,
            settings,
            until_done=options.once,
            reload=ConfigReloader(config, options.config, options.flags),
        )
    finally:
        log.write("supervisor_ended", pid=lease.identity.pid)
        context.close()


def _start_spawner(
    settings: Settings, stderr_path: str, zygote: ZygoteSpawner, *, is_temporary: bool
) -> Spawner:
    by_exec = ExecSpawner(stderr_path)
    if settings.launcher != "zygote":
        zygote.close()
        return by_exec
    zygote.configure(stderr_path, by_exec)
    if not is_temporary:
        with contextlib.suppress(OSError):  # the first launch tries again and reports it
            zygote.prepare()
    return zygote


def _report_limits(context: DaemonContext, settings: Settings) -> None:
    """Report what the file system, a damaged file or a limit of the system restricts."""
    note = context.reporter.note
    if context.durability != "full":
        note(
            f"{context.layout.root}: this file system cannot flush directories: accepted runs "
            "survive a crash, but not a power failure"
        )
    if context.pause_file.warning is not None:
        note(context.pause_file.warning)
    max_runs = runs_at_once(settings.max_runs)
    if max_runs < settings.max_runs:
        note(
            f"at most {max_runs} runs at once, although max_runs = {settings.max_runs}: the limit "
            "of open files is too low; 'supervisor doctor' prints the required limit"
        )


def _plan(config: LoadedConfig, options: StartOptions) -> _Plan:
    if options.params and not options.pipelines:
        raise UsageError(reason="--param is for the PIPELINEs named; a batch has its own params")
    if options.pipelines and (options.batch is not None or options.again):
        option = "--batch" if options.batch is not None else "--again"
        raise UsageError(reason=f"name PIPELINEs or a batch, not both: {option} is for a batch")
    builder = SpecBuilder(settings=config.settings, asked_by="start")
    run_options = config.run_options(options.task, options.params)
    named = builder.all_named(config.catalog, options.pipelines, run_options)
    has_batch = not options.pipelines and options.lease_fd is None
    batch = config.batch(options.batch) if has_batch else None
    if batch is not None:
        list(builder.batch(batch, options.task))  # raises an error before anything is created
    return _Plan(builder=builder, named=named, batch=batch)


def _reporter(as_json: bool) -> CountingReporter:
    if as_json:
        return JsonReporter()
    return LiveReporter() if has_cursor(sys.stdout) else PlainReporter()


def _submit(
    config: LoadedConfig,
    options: StartOptions,
    plan: _Plan,
    supervisor: Supervisor,
    reporter: CountingReporter,
) -> None:
    """Submit the plan's runs through the inbox, unless its batch is unfinished."""
    if plan.named:
        publish(config.layout, Request(kind=RequestKind.RUNS, runs=tuple(plan.named)))
    batch = plan.batch
    if batch is None:
        return
    rounds = supervisor.unfinished_rounds(batch.key)
    editions = supervisor.unfinished_editions(batch.key)
    for request in pending_requests(config.layout):
        rounds |= {spec.asked_at for spec in request.runs if spec.batch == batch.key}
        editions |= {spec.batch_edition for spec in request.runs if spec.batch == batch.key}
    if not rounds or options.again:
        runs = tuple(plan.builder.batch(batch, options.task))
        publish(config.layout, Request(kind=RequestKind.RUNS, runs=runs, batch=batch.key))
        return
    before_count = len(supervisor.outcomes)
    for task_id, run_id, status, detail in finished_in_batch(config.layout, batch.key, rounds):
        supervisor.outcomes.setdefault(run_id, (status, detail))
        supervisor.tasks.add(task_id)
    count = len(supervisor.outcomes) - before_count
    finished = f" ({_runs(count)} finished before)" if count else ""
    reporter.note(
        f"continuing {batch.key}, which is unfinished{finished}; --again submits all its runs again"
    )
    if editions - {batch.edition, None}:
        reporter.note(
            f"{batch.key} has changed since: new and changed runs are not run now; run them with "
            "--again, or by the next start after this batch has finished"
        )


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count} runs"


def _report_end(
    config: LoadedConfig,
    supervisor: Supervisor,
    reporter: CountingReporter,
    options: StartOptions,
) -> None:
    """Print the summary and everything that is left to do."""
    reporter.settle()
    _print_summary(config, supervisor, reporter, as_json=options.as_json)
    note, fleet = reporter.note, supervisor.fleet
    for task_id in sorted(fleet.snapshots):
        note(f"the state of task {task_id} is still owed; the next start writes it")
    running = fleet.at_work()
    if running:
        shown = running[:SHOWN_IDS_COUNT]
        ids = ", ".join(shown) + (", ..." if len(running) > len(shown) else "")
        note(f"left running: {_runs(len(running))} ({ids}); 'supervisor start' adopts them")
    if fleet.queued:
        note(f"{_runs(len(fleet.queued))} left queued; 'supervisor start' starts them")
    elif not (supervisor.outcomes or running) and options.once and supervisor.ended_by is None:
        note("nothing to do: no PIPELINE named, no batch, no run submitted")
    for run_id, reason in supervisor.unwritten().items():
        note(f"the result of {run_id} is not on disk ({reason}); {FIX}")
    if supervisor.postponed is not None:
        note(f"a request stays in the inbox ({supervisor.postponed}); {FIX}")
    if reporter.dropped_count:
        note(f"{reporter.dropped_count} lines were dropped because the output was not read")
    reporter.settle()


def _print_summary(
    config: LoadedConfig, supervisor: Supervisor, reporter: CountingReporter, *, as_json: bool
) -> None:
    layout, outcomes, fleet = config.layout, supervisor.outcomes, supervisor.fleet
    tasks = sorted(supervisor.tasks)
    counts = {
        word: sum(1 for status, _ in outcomes.values() if status == word)
        for word in ("succeeded", "failed", "cancelled")
    }
    if as_json:
        facts = {"root": layout.root, **counts, "queued": len(fleet.queued), "tasks": tasks}
        facts["left_running"] = fleet.at_work()
        facts["unsaid"] = reporter.dropped_count
        reporter.results.write(json_line("start-summary", facts))
    elif outcomes:
        totals = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
        lines = [f"{_runs(len(outcomes))} in {duration(reporter.age_s())}: {totals}"]
        for task_id in tasks:
            state = layout.relative(layout.state(task_id))
            lines.append(f"records of {task_id}: {layout.runs_of(task_id)}/, its state: {state}")
        reporter.results.write("".join(f"{clean_line(line)}\n" for line in lines))


def _exit_code(supervisor: Supervisor) -> int:
    if supervisor.unwritten() or supervisor.postponed is not None:
        return CANNOT_WRITE
    if supervisor.ended_by is not None:
        return 128 + int(signal.Signals(supervisor.ended_by))
    code = worst_exit_code(exit_code(*outcome) for outcome in supervisor.outcomes.values())
    return CANNOT_WRITE if not code and supervisor.refused_count else code

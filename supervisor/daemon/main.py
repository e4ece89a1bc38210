"""What ``start`` does: read what to do, supervise, and say how it went."""

import os
import signal
import sys
from typing import Any

from supervisor.config.batches import Batch
from supervisor.config.launcher_check import check_launcher
from supervisor.config.load import LoadedConfig, load_config
from supervisor.config.run_specs import SpecBuilder
from supervisor.core.policy.exit_codes import exit_code, worst_exit_code
from supervisor.daemon.build import build_supervisor
from supervisor.daemon.config_reloader import Reloading
from supervisor.daemon.loop import Supervisor
from supervisor.daemon.sd_notify import Notifier
from supervisor.errors import CANNOT_WRITE, UsageError
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
from workers.records.dataclass import dataclass
from workers.records.request import Request, RequestKind, pending_requests, publish
from workers.records.spec import RunSpec

LEFT_SHOWN = 5  # ids in one message; 'supervisor status' has them all
MEND = "see to the disk and start again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The command line of ``start``, as its help tells it."""

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
        """The settings that it says; they win over every file."""
        keys = ("max_runs", "launcher", "dask_scheduler")
        return {key: value for key in keys if (value := getattr(self, key)) is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """The runs to make: of the pipelines named, and of a batch."""

    asking: SpecBuilder
    named: list[RunSpec]
    batch: Batch | None


def supervise(asked: Asked, notifier: Notifier, by_fork: ZygoteSpawner) -> int:
    """Supervise to the end.

    Args:
        asked: the command line.
        notifier: tells the service manager that started us.
        by_fork: forks workers; it was started already.

    Returns:
        The exit code.

    Raises:
        ConfigError: the configuration is wrong; like every wrong use, before anything is created.
        UsageError: the command line is.
        LeaseHeldError: another supervisor serves the root.
    """
    given = load_config(asked.root, asked.config, **asked.flags)
    if asked.dask_scheduler is not None and given.settings.launcher != "dask":
        raise UsageError(reason="--dask-scheduler is for --launcher dask")
    check_launcher(given.settings)
    plan = _plan(given, asked)
    reporter = _reporter(asked.as_json)
    with build_supervisor(
        given.layout,
        given.settings,
        command=" ".join(["supervisor", *sys.argv[1:]]),
        reporter=reporter,
        until_done=asked.once,
        lease_fd=asked.lease_fd,
        reload=Reloading(given, asked.config, asked.flags),
        notifier=notifier,
        by_fork=by_fork,
    ) as engine:
        try:
            if not asked.once:
                reporter.note(
                    f"supervising {given.layout.root} (pid {os.getpid()}); 'supervisor submit' "
                    "hands in work, INT drains, 'supervisor stop' ends it"
                )
            engine.recover()
            _hand_in(given, asked, plan, engine, reporter)
            engine.run()
        finally:
            reporter.close()
    code = _leave(given, engine, reporter, asked)
    return code if asked.once or engine.ended_by is not None else 0


def _plan(given: LoadedConfig, asked: Asked) -> _Plan:
    asking = SpecBuilder(settings=given.settings, asked_by="start")
    if asked.params and not asked.pipelines:
        raise UsageError(reason="--param is for the PIPELINEs named; a batch says its own")
    if asked.pipelines and (asked.batch is not None or asked.again):
        given_with = "--batch" if asked.batch is not None else "--again"
        raise UsageError(reason=f"name PIPELINEs or a batch, not both: {given_with} is for a batch")
    wish = given.run_options(asked.task, asked.params)
    named = asking.all_named(given.catalog, asked.pipelines, wish)
    of_batch = not asked.pipelines and asked.lease_fd is None
    batch = given.batch(asked.batch) if of_batch else None
    for spec in () if batch is None else asking.batch(batch, asked.task):
        del spec  # every run of it can be made: known before anything is created
    return _Plan(asking=asking, named=named, batch=batch)


def _reporter(as_json: bool) -> CountingReporter:
    if as_json:
        return JsonReporter()
    return LiveReporter() if has_cursor(sys.stdout) else PlainReporter()


def _hand_in(
    given: LoadedConfig, asked: Asked, plan: _Plan, engine: Supervisor, reporter: CountingReporter
) -> None:
    """Ask ourselves for the runs, through the inbox like everybody else: accepted means flushed."""
    if plan.named:
        publish(given.layout, Request(kind=RequestKind.RUNS, runs=tuple(plan.named)))
    batch = plan.batch
    if batch is None:
        return
    rounds = engine.unfinished_rounds(batch.key)
    editions = engine.unfinished_editions(batch.key)
    for request in pending_requests(given.layout):
        rounds |= {spec.asked_at for spec in request.runs if spec.batch == batch.key}
        editions |= {spec.batch_edition for spec in request.runs if spec.batch == batch.key}
    if rounds and not asked.again:
        count = len(engine.outcomes)
        for task_id, run_id, status, detail in finished_in_batch(given.layout, batch.key, rounds):
            engine.outcomes.setdefault(run_id, (status, detail))
            engine.tasks.add(task_id)
        count = len(engine.outcomes) - count
        ended = f" ({_runs(count)} of it ended before)" if count else ""
        reporter.note(
            f"continuing {batch.key}, which is unfinished{ended}; --again makes its runs anew"
        )
        if editions - {batch.edition, None}:
            reporter.note(
                f"{batch.key} has changed since: what was added or changed is not run now; run it "
                "with --again, or by the next start after this batch has finished"
            )
        return
    runs = tuple(plan.asking.batch(batch, asked.task))
    publish(given.layout, Request(kind=RequestKind.RUNS, runs=runs, batch=batch.key))


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count} runs"


def _leave(
    given: LoadedConfig, engine: Supervisor, reporter: CountingReporter, asked: Asked
) -> int:
    """Say how it went, and find the exit code."""
    outcomes = engine.outcomes
    tasks = sorted(engine.tasks)
    counts = {
        word: sum(1 for status, _ in outcomes.values() if status == word)
        for word in ("succeeded", "failed", "cancelled")
    }
    queued_count, at_work = len(engine.fleet.queued), engine.fleet.at_work()
    reporter.settle()
    if asked.as_json:
        facts = {"root": given.layout.root, **counts, "queued": queued_count, "tasks": tasks}
        facts["left_running"] = at_work
        facts["unsaid"] = reporter.dropped_count
        reporter.results.write(json_line("start-summary", facts))
    elif outcomes:
        told = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
        lines = [f"{_runs(len(outcomes))} in {duration(reporter.age_s())}: {told}"]
        for task_id in tasks:
            state = given.layout.relative(given.layout.state(task_id))
            lines.append(
                f"records of {task_id}: {given.layout.runs_of(task_id)}/, its state: {state}"
            )
        reporter.results.write("".join(f"{clean_line(line)}\n" for line in lines))
    for task_id in engine.owed_tasks():
        reporter.note(f"the state of task {task_id} is still owed; the next start writes it")
    if at_work:
        ids = ", ".join(at_work[:LEFT_SHOWN]) + (", ..." if len(at_work) > LEFT_SHOWN else "")
        reporter.note(
            f"left running: {_runs(len(at_work))} ({ids}); 'supervisor start' adopts them"
        )
    if queued_count:
        reporter.note(f"{_runs(queued_count)} left queued; 'supervisor start' starts them")
    elif not outcomes and not at_work and asked.once and engine.ended_by is None:
        reporter.note("nothing to do: no PIPELINE named, no batch, no run submitted")
    for run_id, why in engine.unwritten().items():
        reporter.note(f"the result of {run_id} is not on disk ({why}); {MEND}")
    if engine.postponed is not None:
        reporter.note(f"a request stays in the inbox ({engine.postponed}); {MEND}")
    if reporter.dropped_count:
        reporter.note(f"{reporter.dropped_count} lines were left out because nobody read them")
    reporter.settle()
    return _code(engine)


def _code(engine: Supervisor) -> int:
    if engine.unwritten() or engine.postponed is not None:
        return CANNOT_WRITE
    if engine.ended_by is not None:
        return 128 + int(signal.Signals(engine.ended_by))
    code = worst_exit_code(exit_code(status, detail) for status, detail in engine.outcomes.values())
    return CANNOT_WRITE if not code and engine.refused_count else code

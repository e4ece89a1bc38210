"""``supervisor start``: take the lease, recover, and supervise."""

import os
import signal
import sys

import click

from supervisor.commands.configured import Configured, configure
from supervisor.commands.options import json_option, param_option, root_options
from supervisor.commands.reloading import Reloading
from supervisor.core.outcome import exit_code, worst
from supervisor.edge.notify import notifier_of
from supervisor.engine.loop import Engine
from supervisor.errors import CannotWriteError, UsageError
from supervisor.plan.batches import Batch
from supervisor.plan.runs import Asking
from supervisor.report.progress import JsonReporter, PlainReporter, Tally
from supervisor.report.terminal import moves
from supervisor.report.text import duration, json_line
from supervisor.wiring import engine_for
from workers.records.request import Request, RequestKind, pending_requests, publish
from workers.records.spec import RunSpec

MEND = "see to the disk and start again"


@click.command("start", short_help="Supervise runs.")
@click.argument("pipelines", metavar="[PIPELINE]...", nargs=-1)
@click.option("--once", is_flag=True, help="Leave when all is done, with the worst outcome's code.")
@click.option("--batch", metavar="FILE", help="The batch to run. Default: the setting `batch`.")
@click.option("--again", is_flag=True, help="Make the batch anew although it is unfinished.")
@click.option("--task", metavar="ID", help="The task of runs that name none.")
@param_option
@click.option("--max-runs", type=int, metavar="N", help="Runs at once.")
@click.option("--lease-fd", type=int, hidden=True)
@root_options
@json_option
def command(
    pipelines: tuple[str, ...],
    once: bool,
    batch: str | None,
    again: bool,
    task: str | None,
    params: tuple[str, ...],
    max_runs: int | None,
    lease_fd: int | None,
    root: str | None,
    config: str | None,
    as_json: bool,
) -> int:
    """Supervise the PIPELINEs named, or the batch, and whatever is handed in meanwhile.

    One supervisor serves a root. What a crash left is recovered first; a batch that is unfinished
    is continued. The first TERM or INT drains, the second stops; HUP reads the configuration again
    and tells what changed; one with errors is refused, and the old one stays.

    Exits with 10 (a run failed), 11 (cancelled), 12 (lost), 73 (cannot write: the runs whose
    result is not on disk are listed), 75 (another supervisor), 78 (configuration), 130/143 (ended
    by INT/TERM).

    Example: supervisor start --once --batch config/batches/diagnostics.toml
    """
    notifier = notifier_of(os.environ, os.getpid())
    given = configure(root, config, max_runs=max_runs)
    asking = Asking(settings=given.settings, asked_by="start")
    if params and not pipelines:
        raise UsageError(why="--param is for the PIPELINEs named; a batch says its own")
    named = asking.all_named(given.catalog, pipelines, given.wish(task, params))
    wanted = None if pipelines or lease_fd is not None else given.batch(batch)
    for spec in () if wanted is None else asking.batch(wanted, task):
        del spec  # every run of it can be made: known before anything is created
    reporter = _reporter(as_json)
    with engine_for(
        given.layout,
        given.settings,
        command=" ".join(["supervisor", *sys.argv[1:]]),
        reporter=reporter,
        until_done=once,
        lease_fd=lease_fd,
        reload=Reloading(given, root, config, max_runs=max_runs),
        notifier=notifier,
    ) as engine:
        try:
            if not once:
                reporter.note(
                    f"supervising {given.layout.root} (pid {os.getpid()}); 'supervisor submit' "
                    "hands in work, INT drains, 'supervisor stop' ends it"
                )
            engine.recover()
            _hand_in(given, asking, named, wanted, task, engine, reporter, again=again)
            engine.run()
        finally:
            reporter.close()
    code = _leave(given, engine, reporter, as_json)
    return code if once or engine.ended_by is not None else 0


def _reporter(as_json: bool) -> Tally:
    if as_json:
        return JsonReporter()
    if not moves(sys.stdout):
        return PlainReporter()
    from supervisor.report.telling import LiveReporter

    return LiveReporter()


def _hand_in(
    given: Configured,
    asking: Asking,
    named: list[RunSpec],
    batch: Batch | None,
    task: str | None,
    engine: Engine,
    reporter: Tally,
    *,
    again: bool,
) -> None:
    """Ask ourselves for the runs, through the inbox like everybody else: accepted means flushed."""
    if named:
        publish(given.layout, Request(kind=RequestKind.RUNS, runs=tuple(named)))
    if batch is None:
        return
    asked = any(request.batch == batch.key for request in pending_requests(given.layout))
    if not again and (asked or batch.key in engine.batches()):
        reporter.note(f"continuing {batch.key}, which is unfinished; --again makes its runs anew")
        return
    runs = tuple(asking.batch(batch, task))
    publish(given.layout, Request(kind=RequestKind.RUNS, runs=runs, batch=batch.key))


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count} runs"


def _leave(given: Configured, engine: Engine, reporter: Tally, as_json: bool) -> int:
    """Say how it went, and find the exit code."""
    outcomes = engine.outcomes
    tasks = sorted(engine.tasks)
    counts = {
        word: sum(1 for status, _ in outcomes.values() if status == word)
        for word in ("succeeded", "failed", "cancelled")
    }
    queued_count = len(engine.fleet.queued)
    reporter.settle()
    if as_json:
        facts = {"root": given.layout.root, **counts, "queued": queued_count, "tasks": tasks}
        facts["unsaid"] = reporter.unsaid_count
        reporter.results.write(json_line("start-summary", facts))
    elif outcomes:
        told = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
        lines = [f"{_runs(len(outcomes))} in {duration(reporter.age_s())}: {told}"]
        for task_id in tasks:
            state = given.layout.relative(given.layout.state(task_id))
            lines.append(
                f"records of {task_id}: {given.layout.runs_of(task_id)}/, its state: {state}"
            )
        reporter.results.write("".join(f"{line}\n" for line in lines))
    for task_id in engine.owed_tasks():
        reporter.note(f"the state of task {task_id} is still owed; the next start writes it")
    if queued_count:
        reporter.note(f"{_runs(queued_count)} stay queued; 'supervisor start' goes on with them")
    for run_id, why in engine.unwritten().items():
        reporter.note(f"the result of {run_id} is not on disk ({why}); {MEND}")
    if engine.postponed is not None:
        reporter.note(f"a request stays in the inbox ({engine.postponed}); {MEND}")
    if reporter.unsaid_count:
        reporter.note(f"{reporter.unsaid_count} lines were left out because nobody read them")
    reporter.settle()
    return _code(engine)


def _code(engine: Engine) -> int:
    if engine.unwritten() or engine.postponed is not None:
        return CannotWriteError.exit_code
    if engine.ended_by is not None:
        return 128 + int(signal.Signals(engine.ended_by))
    code = worst(exit_code(status, detail) for status, detail in engine.outcomes.values())
    return CannotWriteError.exit_code if not code and engine.refused_count else code

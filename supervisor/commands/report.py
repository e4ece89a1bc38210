"""``supervisor report``."""

import sys

import click

from supervisor.commands.options import RUN, root_options
from supervisor.config.find_root import absolute, layout_of
from supervisor.config.suggest import unknown_name
from supervisor.errors import UnknownTaskError, UsageError
from supervisor.report.export.output_file import write_output
from supervisor.report.html import run_page, task_page
from supervisor.report.read.find_run import find_run
from supervisor.report.read.run_rows import newest_task_rows
from supervisor.report.read.run_tree import read_tree
from supervisor.store.root_listing import tasks
from workers.records.ids import check_id
from workers.records.typed_errors import BadRecordError


@click.command("report", epilog=RUN)
@click.argument("run", required=False)
@click.option("--task", metavar="ID", help="Show the newest runs of this task.")
@click.option(
    "--last",
    type=click.IntRange(min=1),
    default=50,
    metavar="N",
    help="With --task: number of runs. Default: 50.",
)
@click.option("-o", "--output", metavar="FILE", required=True, help="File to write; - for stdout.")
@root_options
def command(
    run: str | None, task: str | None, last: int, output: str, root: str | None, config: str | None
) -> int:
    """Write a run or a task as an HTML page.

    The page shows RUN, or the newest runs of --task: verdicts, a timeline, stages, output, hooks,
    warnings, and a task's guardrails. It is one file, without scripts, and loads nothing.

    A regular FILE is replaced as a whole and readable only by its owner. A device or FIFO is
    written to.

    Example: supervisor report latest -o report.html
    """
    layout = layout_of(root, config, writes=False)
    if (run is None) == (task is None):
        raise UsageError(reason="give either RUN or --task")
    if run is not None:
        page = run_page.page(layout, read_tree(layout, *find_run(layout, run)))
    else:
        task_id = check_id("task", task or "")
        rows = newest_task_rows(layout, task_id, last)
        if not rows and task_id in tasks(layout):
            reason = "has no run that can be read; 'supervisor verify' lists the damage"
            raise BadRecordError(path=layout.history(task_id), reason=reason)
        if not rows:
            raise UnknownTaskError(reason=unknown_name("task", task_id, tasks(layout)))
        page = task_page.page(layout, task_id, rows)
    data = page.encode("utf-8", "backslashreplace")
    if output == "-":
        sys.stdout.buffer.write(data)
    else:
        write_output(absolute(output), data)
    return 0

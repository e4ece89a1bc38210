"""``supervisor status``."""

import click

from supervisor.commands.options import RUN, json_option, root_options
from supervisor.config.find_root import layout_of
from supervisor.report.read.run_rows import recent_rows, status_json
from supervisor.report.text.output import print_error, print_json

FAILED_SHOWN = 3  # docs/reference/exit-codes.md


@click.command("status", epilog=RUN)
@click.argument("runs", metavar="[RUN]...", nargs=-1)
@click.option("--watch", is_flag=True, help="Update until the RUNs have ended, or for ever.")
@root_options
@json_option
def command(
    runs: tuple[str, ...], watch: bool, root: str | None, config: str | None, as_json: bool
) -> int:
    """List active and recent runs, or show runs as trees.

    Without RUN: the active runs and the newest 20 finished ones. With RUN: a tree of its stages and
    sub-pipelines, with the last lines of errors and with failed hooks. A run of a later version
    has the status unknown_schema. With --watch, a terminal is redrawn in place; otherwise, and
    with --json, each change is a line.

    Exit status: 0, 3 (a run shown has failed), 4 (unknown RUN).

    Example: supervisor status latest
    """
    layout = layout_of(root, config, writes=False)
    if watch:
        from supervisor.commands.status_views import show_repeatedly

        statuses = show_repeatedly(layout, runs, as_json=as_json)
    elif runs or not as_json:
        from supervisor.commands.status_views import show

        statuses = show(layout, runs, as_json=as_json)
    else:
        rows, unread = recent_rows(layout)
        for error in unread:
            print_error(error)
        print_json("status-report", status_json(layout, [row.to_json() for row in rows]))
        statuses = [row.status for row in rows]
    return FAILED_SHOWN if "failed" in statuses else 0

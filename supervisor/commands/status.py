"""``supervisor status``: the active runs and the newest finished ones, or the tree of a run."""

import click

from supervisor.commands.options import json_option, root_options
from supervisor.config.find_root import layout_of
from supervisor.report.read.run_rows import recent_rows, status_json
from supervisor.report.text.output import print_error, print_json

FAILED_SHOWN = 3  # docs/reference/exit-codes.md


@click.command("status", short_help="Show the active and the newest runs.")
@click.argument("runs", metavar="[RUN]...", nargs=-1)
@click.option("--watch", is_flag=True, help="Show it again and again; RUNs until they have ended.")
@root_options
@json_option
def command(
    runs: tuple[str, ...], watch: bool, root: str | None, config: str | None, as_json: bool
) -> int:
    """Show the active runs and the newest 20; or each RUN named as a tree of its stages.

    RUN is a run id, a unique prefix of one, its last 8 digits, or "latest". A tree has the runs of
    sub-pipelines in it, the last lines of what failed, and hooks that did not go well. A run that
    a later version of this program wrote is `unknown_schema`. Exits with 3 where a shown run
    failed, 4 where a RUN is unknown. With --watch a terminal is redrawn in place; elsewhere, and
    with --json, each change is a line.

    Example: supervisor status latest
    """
    layout = layout_of(root, config, writes=False)
    if watch:
        from supervisor.commands.status_views import show_again

        statuses = show_again(layout, runs, as_json=as_json)
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

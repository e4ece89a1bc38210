"""``supervisor pause``: hold new starts until ``resume``."""

import click

from supervisor.commands.options import group_option, root_options
from supervisor.commands.pause_request import change, check_group
from supervisor.config.find_root import layout_of
from supervisor.report.text.output import print_error
from workers.records.request import RequestKind


@click.command("pause", short_help="Hold new starts, of all runs or of a group.")
@group_option
@root_options
def command(group: str | None, root: str | None, config: str | None) -> int:
    """Start no run any more, or none of a group: what runs goes on, what is handed in is queued.

    It holds until 'supervisor resume', over restarts of the supervisor too. Sub-pipelines of
    running runs still start. Returns when it is so.

    Example: supervisor pause --group gpu
    """
    layout = layout_of(root, config, writes=True)
    if group is not None:
        check_group(layout, config, group)
    change(layout, RequestKind.PAUSE, group)
    what = "everything" if group is None else f"group {group}"
    print_error(f"{what} is paused; 'supervisor resume' lifts it")
    return 0

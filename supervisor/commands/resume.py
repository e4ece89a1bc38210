"""``supervisor resume``: lift pauses."""

import click

from supervisor.commands.options import group_option, root_options
from supervisor.commands.pause_request import change, check_group
from supervisor.config.find_root import layout_of
from supervisor.report.read.run_records import current_pauses
from supervisor.report.text.output import print_error
from workers.records.request import RequestKind


@click.command("resume", short_help="Lift every pause, or that of a group.")
@group_option
@root_options
def command(group: str | None, root: str | None, config: str | None) -> int:
    """Let queued runs start again: lift every pause, or that of a group alone.

    Returns when it is so; where no supervisor is up, the next one starts them.

    Example: supervisor resume
    """
    layout = layout_of(root, config, writes=True)
    if group is not None:
        check_group(layout, config, group)
    what = "everything" if group is None else f"group {group}"
    held = current_pauses(layout)
    if held == held.resumed(group):
        print_error("nothing is paused" if group is None else f"{what} is not paused")
    else:
        change(layout, RequestKind.RESUME, group)
        print_error(f"{what} is resumed")
    left = current_pauses(layout)
    if left.since is not None:
        print_error("everything is still paused; 'supervisor resume' without --group lifts that")
    elif left:
        print_error(f"still paused: {', '.join(name for name, _ in left.groups)}")
    return 0

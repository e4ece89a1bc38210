"""``supervisor resume``."""

import click

from supervisor.commands.control_requests import change_pause, check_group
from supervisor.commands.options import group_option, root_options
from supervisor.config.find_root import layout_of
from supervisor.report.read.run_records import current_pauses
from supervisor.report.text.output import print_error
from workers.records.request import RequestKind


@click.command("resume")
@group_option
@root_options
def command(group: str | None, root: str | None, config: str | None) -> int:
    """Start queued runs again after a pause.

    Lifts every pause, or that of one group. Returns when it is in effect. If no supervisor is
    running, the next one starts the queued runs.

    Example: supervisor resume
    """
    layout = layout_of(root, config, writes=True)
    check_group(layout, config, group)
    what = "everything" if group is None else f"group {group}"
    pauses = current_pauses(layout)
    if pauses == pauses.resumed(group):
        print_error("nothing is paused" if group is None else f"{what} is not paused")
    else:
        change_pause(layout, RequestKind.RESUME, group)
        print_error(f"{what} is resumed")
    left = current_pauses(layout)
    if left.since is not None:
        print_error("everything is still paused; 'supervisor resume' without --group lifts that")
    elif left:
        print_error(f"still paused: {', '.join(name for name, _ in left.groups)}")
    return 0

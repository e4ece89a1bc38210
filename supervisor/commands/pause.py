"""``supervisor pause``."""

import click

from supervisor.commands.control_requests import change_pause, check_group
from supervisor.commands.options import group_option, root_options
from supervisor.config.find_root import layout_of
from supervisor.report.text.output import print_error
from workers.records.request import RequestKind


@click.command("pause")
@group_option
@root_options
def command(group: str | None, root: str | None, config: str | None) -> int:
    """Stop starting queued runs.

    Running runs go on, also with new runs of their sub-pipelines. Submitted runs are queued. The
    pause lasts until 'supervisor resume', across restarts. Returns when it is in effect.

    Example: supervisor pause
    """
    layout = layout_of(root, config, writes=True)
    check_group(layout, config, group)
    change_pause(layout, RequestKind.PAUSE, group)
    what = "everything" if group is None else f"group {group}"
    print_error(f"{what} is paused; 'supervisor resume' lifts it")
    return 0

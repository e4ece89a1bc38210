"""``supervisor resume``: lift pauses."""

import click

from supervisor.commands.options import group_option, root_options
from supervisor.commands.pausing import change, check_group
from supervisor.plan.root import layout_of
from supervisor.report.control import holds_now
from supervisor.report.text import say
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
    held = holds_now(layout)
    if held == held.resumed(group):
        say("nothing is paused" if group is None else f"{what} is not paused")
    else:
        change(layout, RequestKind.RESUME, group)
        say(f"{what} is resumed")
    left = holds_now(layout)
    if left.since is not None:
        say("everything is still paused; 'supervisor resume' without --group lifts that")
    elif left:
        say(f"still paused: {', '.join(name for name, _ in left.groups)}")
    return 0

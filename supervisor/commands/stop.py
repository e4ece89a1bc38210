"""``supervisor stop``: end the supervisor of a root, and return when it is gone."""

import click

from supervisor.commands.options import root_options
from supervisor.commands.shutdown_request import end_supervisor
from supervisor.config.find_root import layout_of
from workers.records.request import RequestKind


@click.command("stop", short_help="Stop the supervisor of this root.")
@click.option(
    "--leave-running",
    is_flag=True,
    help="Leave the workers at work; the next start adopts them.",
)
@root_options
def command(leave_running: bool, root: str | None, config: str | None) -> int:
    """Stop the supervisor: what runs is cancelled with its verdict, what is queued stays queued.

    Returns when the supervisor is gone.

    Example: supervisor stop --leave-running
    """
    layout = layout_of(root, config, writes=True)
    return end_supervisor(layout, RequestKind.STOP, leave_running=leave_running)

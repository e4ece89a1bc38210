"""``supervisor stop``."""

import click

from supervisor.commands.control_requests import end_supervisor
from supervisor.commands.options import root_options
from supervisor.config.find_root import layout_of
from workers.records.request import RequestKind


@click.command("stop")
@click.option(
    "--leave-running", is_flag=True, help="Keep the workers running; the next start adopts them."
)
@root_options
def command(leave_running: bool, root: str | None, config: str | None) -> int:
    """Stop the supervisor.

    Cancels running runs, records their verdicts, and returns when the supervisor has exited.
    Queued runs stay queued until the next 'supervisor start'.

    Exit status: 0, also if no supervisor is running; 75 (a supervisor is starting or exiting).

    Example: supervisor stop --leave-running
    """
    layout = layout_of(root, config, writes=True)
    return end_supervisor(layout, RequestKind.STOP, leave_running=leave_running)

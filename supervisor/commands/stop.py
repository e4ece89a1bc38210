"""``supervisor stop``: end the supervisor of a root, and return when it is gone."""

import time

import click

from supervisor.commands.options import layout_of, root_options
from supervisor.edge.flock import is_flocked
from supervisor.edge.lease import serving
from supervisor.report.text import say
from workers.records.identity import is_alive
from workers.records.request import Request, RequestKind, publish

POLL_S = 0.05


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
    layout = layout_of(root, config)
    holder = serving(layout)
    if holder is None:
        if is_flocked(layout.lease_lock):
            say(f"a supervisor of {layout.root} is just starting or ending; try again")
            return 75
        say(f"no supervisor serves {layout.root}")
        return 0
    publish(
        layout,
        Request(kind=RequestKind.STOP, supervisor=holder, leave_running=leave_running),
    )
    while is_alive(holder) and serving(layout) == holder:
        time.sleep(POLL_S)
    return 0

"""``supervisor drain``: let running runs end, start no more, and return when none runs."""

import contextlib
import time

import click

from supervisor.commands.options import group_option, root_options
from supervisor.commands.pause_request import POLL_S, change, check_group
from supervisor.commands.shutdown_request import end_supervisor
from supervisor.commands.unserved import Waiting
from supervisor.config.find_root import layout_of
from supervisor.launchers.placement_record import may_be_at_work
from supervisor.report.text.output import print_error
from supervisor.store.root_listing import active_ids
from workers.records.flock import is_flocked
from workers.records.layout import Layout
from workers.records.request import RequestKind
from workers.records.spec import load_spec
from workers.records.typed_errors import TypedError


@click.command("drain", short_help="Let running runs end and start no more.")
@group_option
@root_options
def command(group: str | None, root: str | None, config: str | None) -> int:
    """Let what runs end, start nothing that is queued, and return when nothing runs any more.

    The supervisor leaves then, as with a first TERM; what is queued stays queued for the next one.
    With --group the group is paused and the supervisor stays.

    Example: supervisor drain
    """
    layout = layout_of(root, config, writes=True)
    if group is None:
        return end_supervisor(layout, RequestKind.DRAIN)
    check_group(layout, config, group)
    change(layout, RequestKind.PAUSE, group)
    waiting = Waiting(layout)
    while _is_running(layout, group):
        waiting.explain()
        time.sleep(POLL_S)
    print_error(
        f"group {group} is paused and nothing of it runs; 'supervisor resume' lifts the pause"
    )
    return 0


def _is_running(layout: Layout, group: str) -> bool:
    """A worker of one of the group's runs holds its owner lock, or is placed on some host."""
    for run_id, task_id in active_ids(layout).items():
        run = layout.run_dir(task_id, run_id)
        with contextlib.suppress(OSError, TypedError):  # it has left, or is of a later version
            if load_spec(run.spec).group != group:
                continue
            if is_flocked(run.owner) or may_be_at_work(run):
                return True
    return False

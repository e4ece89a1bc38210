"""``supervisor drain``."""

import contextlib
import time

import click

from supervisor.commands.control_requests import POLL_S, change_pause, check_group, end_supervisor
from supervisor.commands.options import group_option, root_options
from supervisor.commands.wait_notice import WaitNotice
from supervisor.config.find_root import layout_of
from supervisor.launchers.placement_record import may_have_worker
from supervisor.report.text.output import print_error
from supervisor.store.root_listing import active_ids
from workers.records.flock import is_flocked
from workers.records.layout import Layout
from workers.records.request import RequestKind
from workers.records.spec import load_spec
from workers.records.typed_errors import TypedError


@click.command("drain")
@group_option
@root_options
def command(group: str | None, root: str | None, config: str | None) -> int:
    """Finish running runs, and start no queued ones.

    Returns when no run is running and the supervisor has exited. Queued runs stay queued until the
    next 'supervisor start'. With --group, the group is paused and the supervisor keeps running.

    Example: supervisor drain
    """
    layout = layout_of(root, config, writes=True)
    if group is None:
        return end_supervisor(layout, RequestKind.DRAIN)
    check_group(layout, config, group)
    change_pause(layout, RequestKind.PAUSE, group)
    notice = WaitNotice(layout)
    while _is_running(layout, group):
        notice.update()
        time.sleep(POLL_S)
    print_error(
        f"group {group} is paused and none of its runs is running; "
        "'supervisor resume' lifts the pause"
    )
    return 0


def _is_running(layout: Layout, group: str) -> bool:
    """Whether a worker of the group holds its owner lock, or is placed on a host."""
    for run_id, task_id in active_ids(layout).items():
        run = layout.run_dir(task_id, run_id)
        with contextlib.suppress(OSError, TypedError):  # it has ended, or is of a later version
            if load_spec(run.spec).group != group:
                continue
            if is_flocked(run.owner) or may_have_worker(run):
                return True
    return False

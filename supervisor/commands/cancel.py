"""``supervisor cancel``."""

import click

from supervisor.commands.ondemand_supervisor import OndemandSupervisor
from supervisor.commands.options import RUN, json_option, root_options
from supervisor.commands.run_waiter import RunRef, final_manifest, wait_for
from supervisor.config.find_root import layout_of
from supervisor.report.read.find_run import find_run
from supervisor.report.text.output import print_json, print_line
from workers.records.request import Request, RequestKind, publish


@click.command("cancel", epilog=RUN)
@click.argument("runs", metavar="RUN...", nargs=-1, required=True)
@root_options
@json_option
def command(runs: tuple[str, ...], root: str | None, config: str | None, as_json: bool) -> int:
    """Cancel runs and wait until they have ended.

    The running stages get TERM, and KILL after the setting grace_s. A run that has already ended
    keeps its verdict. If no supervisor is running, a temporary one cancels the runs.

    Exit status: 0, 4 (unknown RUN).

    Example: supervisor cancel latest
    """
    layout = layout_of(root, config, writes=True)
    awaited = [RunRef(*find_run(layout, name)) for name in dict.fromkeys(runs)]
    active = [run for run in awaited if final_manifest(layout, run) is None]
    if active:
        run_ids = tuple(run.run_id for run in active)
        publish(
            layout, Request(kind=RequestKind.CANCEL, run_ids=run_ids, detail="cancelled-by-user")
        )
    supervisor = OndemandSupervisor(layout, config)
    ended = wait_for(layout, awaited, timeout_s=None, meanwhile=supervisor.ensure)
    supervisor.detach()
    for run in awaited:
        manifest = ended[run]
        if as_json:
            facts = {"run_id": run.run_id, "task_id": run.task_id, "status": manifest["status"]}
            print_json("cancel", {**facts, "status_detail": manifest["status_detail"]})
        else:
            note = "" if run in active else ", had ended before"
            print_line(f"{run.run_id}  {manifest['status']}{note}")
    return 0

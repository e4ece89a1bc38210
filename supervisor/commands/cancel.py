"""``supervisor cancel RUN...``: end runs, and return when nothing of them is left alive."""

import click

from supervisor.commands.options import json_option, root_options
from supervisor.commands.run_waiter import RunRef, Service, final_manifest, wait_for
from supervisor.config.find_root import layout_of
from supervisor.report.read.find_run import find_run
from supervisor.report.text.output import print_json, print_line
from workers.records.request import Request, RequestKind, publish


@click.command("cancel", short_help="End runs, and return when nothing of them is left.")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True)
@root_options
@json_option
def command(runs: tuple[str, ...], root: str | None, config: str | None, as_json: bool) -> int:
    """End every RUN: its stage is terminated, killed after the grace, and its verdict written.

    A run that has already ended keeps its verdict. Works while no supervisor is up, too.

    Example: supervisor cancel latest
    """
    layout = layout_of(root, config, writes=True)
    awaited = [RunRef(*find_run(layout, name)) for name in dict.fromkeys(runs)]
    open_runs = [run for run in awaited if final_manifest(layout, run) is None]
    if open_runs:
        publish(
            layout,
            Request(
                kind=RequestKind.CANCEL,
                run_ids=tuple(run.run_id for run in open_runs),
                detail="cancelled-by-user",
            ),
        )
    service = Service(layout, config)
    found = wait_for(layout, awaited, timeout_s=None, meanwhile=service.ensure)
    service.leave()
    for run in awaited:
        manifest = found[run]
        if as_json:
            facts = {"run_id": run.run_id, "task_id": run.task_id, "status": manifest["status"]}
            print_json("cancel", {**facts, "status_detail": manifest["status_detail"]})
        else:
            word = "" if run in open_runs else ", had ended before"
            print_line(f"{run.run_id}  {manifest['status']}{word}")
    return 0

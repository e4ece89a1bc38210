"""``supervisor wait RUN...``: block until runs have ended."""

import click

from supervisor.commands.options import json_option, layout_of, root_options
from supervisor.commands.waiting import Awaited, outcome, wait_for
from supervisor.core.outcome import worst
from supervisor.edge.flock import is_flocked
from supervisor.report.find import find_run
from supervisor.report.text import print_json, say, tell

TIMED_OUT = 124  # docs/reference/exit-codes.md, as timeout(1)


@click.command("wait", short_help="Wait for runs to end.")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True)
@click.option("--timeout", type=click.FloatRange(min=0), help="Seconds; then exit with 124.")
@root_options
@json_option
def command(
    runs: tuple[str, ...],
    timeout: float | None,
    root: str | None,
    config: str | None,
    as_json: bool,
) -> int:
    """Wait until every RUN has its verdict on record, and exit with the worst outcome.

    Exits with 0, 10 (failed), 11 (cancelled), 12 (lost), or 124 where the time ran out.

    Example: supervisor wait latest --timeout 600
    """
    layout = layout_of(root, config)
    awaited = [Awaited(*find_run(layout, name)) for name in dict.fromkeys(runs)]
    told = False

    def meanwhile() -> None:
        nonlocal told
        if not told and not is_flocked(layout.lease_lock):
            told = True
            say(f"no supervisor serves {layout.root}; 'supervisor start' makes queued runs go on")

    found = wait_for(layout, awaited, timeout_s=timeout, meanwhile=meanwhile)
    for run in awaited:
        manifest = found.get(run)
        status = manifest["status"] if manifest else "unfinished"
        detail = manifest["status_detail"] if manifest else None
        if as_json:
            facts = {"run_id": run.run_id, "task_id": run.task_id}
            print_json("wait", {**facts, "status": status, "status_detail": detail})
        else:
            tell(f"{run.run_id}  {status}{f' ({detail})' if detail else ''}")
    if len(found) < len(set(awaited)):
        return TIMED_OUT
    return worst(outcome(manifest) for manifest in found.values())

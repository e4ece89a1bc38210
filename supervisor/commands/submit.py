"""``supervisor submit``."""

from typing import Unpack

import click

from supervisor.commands.run_options import GivenOptions, build_spec, spec_options
from supervisor.report.text.output import json_line, print_accepted
from workers.records.request import Request, RequestKind, publish


@click.command("submit")
@spec_options
def command(
    ctx: click.Context,
    argv: tuple[str, ...],
    root: str | None,
    config: str | None,
    as_json: bool,
    **options: Unpack[GivenOptions],
) -> int:
    """Submit a run and print its id.

    The run of PIPELINE, or of COMMAND after --, is on disk before its id is printed. The
    supervisor of the root starts it, or the next one if none is running. It has the supervisor's
    environment, umask and limits, and the variables of --env. A command runs in the current
    directory, a pipeline in the root. If stdout is closed, stderr gets the id.

    Exit status: 0, 2 (usage), 73 (cannot write), 78 (configuration).

    Example: supervisor submit -- pytest -q
    """
    layout, spec = build_spec(ctx, argv, options, root, config, asked_by="submit")
    publish(layout, Request(kind=RequestKind.RUNS, runs=(spec,)))
    facts = {"run_id": spec.run_id, "task_id": spec.task_id}
    line = json_line("submit", facts) if as_json else f"{spec.run_id}\n"
    print_accepted(line, spec.run_id)
    return 0

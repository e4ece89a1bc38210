"""``supervisor submit``: submit a run and print its id."""

from typing import Unpack

import click

from supervisor.commands.run_options import Wished, ask_for, asking_options
from supervisor.report.text.output import json_line, print_accepted
from workers.records.request import Request, RequestKind, publish


@click.command("submit", short_help="Submit a run and print its id.")
@asking_options
def command(
    ctx: click.Context,
    words: tuple[str, ...],
    root: str | None,
    config: str | None,
    as_json: bool,
    **wished: Unpack[Wished],
) -> int:
    """Submit a run of PIPELINE, or of a COMMAND behind --, and print its id.

    When the id is printed the run is on disk. The supervisor that serves the root starts it, or the
    next one. It has that supervisor's environment, umask and limits, and the variables of --env. A
    COMMAND runs in the current directory, a pipeline in the root. If stdout takes no id, stderr
    names it, and the exit status is 0 all the same.

    Example: supervisor submit -- pytest -q
    """
    layout, spec = ask_for(ctx, words, wished, root, config, asked_by="submit")
    publish(layout, Request(kind=RequestKind.RUNS, runs=(spec,)))
    facts = {"run_id": spec.run_id, "task_id": spec.task_id}
    line = json_line("submit", facts) if as_json else f"{spec.run_id}\n"
    print_accepted(line, spec.run_id)
    return 0

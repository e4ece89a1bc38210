"""``supervisor submit``: hand in a run and print its id."""

import click

from supervisor.commands.asking import ask_for
from supervisor.commands.options import json_option, root_options
from supervisor.report.text import print_json
from workers.records.request import Request, RequestKind, publish


@click.command(
    "submit",
    short_help="Hand in a run and print its id.",
    context_settings={"ignore_unknown_options": False},
)
@click.argument("words", metavar="PIPELINE | -- COMMAND [ARG]...", nargs=-1, required=True)
@click.option("--task", metavar="ID", help="The task of the run. Default: the setting.")
@root_options
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    words: tuple[str, ...],
    task: str | None,
    root: str | None,
    config: str | None,
    as_json: bool,
) -> int:
    """Hand in one run of PIPELINE, or of a COMMAND behind --, and print the run's id.

    When the id is printed the run is on disk: it is made by the supervisor that serves the root,
    or by the next one.

    Example: supervisor submit -- pytest -q
    """
    layout, spec = ask_for(ctx, words, task, root, config, asked_by="submit")
    publish(layout, Request(kind=RequestKind.RUNS, runs=(spec,)))
    if as_json:
        print_json("submit", {"run_id": spec.run_id, "task_id": spec.task_id})
    else:
        click.echo(spec.run_id)
    return 0

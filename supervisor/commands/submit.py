"""``supervisor submit``: hand in a run and print its id."""

from typing import Unpack

import click

from supervisor.commands.asking import Wished, ask_for, asking_options
from supervisor.report.text import print_json, tell
from workers.records.request import Request, RequestKind, publish


@click.command("submit", short_help="Hand in a run and print its id.")
@asking_options
def command(
    ctx: click.Context,
    words: tuple[str, ...],
    root: str | None,
    config: str | None,
    as_json: bool,
    **wished: Unpack[Wished],
) -> int:
    """Hand in one run of PIPELINE, or of a COMMAND behind --, and print the run's id.

    When the id is printed the run is on disk: it is made by the supervisor that serves the root,
    or by the next one.

    Example: supervisor submit -- pytest -q
    """
    layout, spec = ask_for(ctx, words, wished, root, config, asked_by="submit")
    publish(layout, Request(kind=RequestKind.RUNS, runs=(spec,)))
    if as_json:
        print_json("submit", {"run_id": spec.run_id, "task_id": spec.task_id})
    else:
        tell(spec.run_id)
    return 0

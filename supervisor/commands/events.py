"""``supervisor events``: the facts of runs as NDJSON, and ``-f`` to follow them."""

import sys
from collections.abc import Iterable

import click

from supervisor.commands.options import root_options
from supervisor.commands.poll import FOLLOW_S, pause
from supervisor.commands.unserved import Waiting
from supervisor.config.find_root import layout_of
from supervisor.report.read.find_run import find_run
from supervisor.report.read.journal_follower import RootFacts, RunFact, RunFacts, fact_json
from supervisor.report.text.output import json_line


@click.command("events", short_help="Print the facts of runs as NDJSON.")
@click.argument("runs", metavar="[RUN]...", nargs=-1)
@click.option("-f", "--follow", is_flag=True, help="Go on: RUNs to their end, else for ever.")
@root_options
def command(runs: tuple[str, ...], follow: bool, root: str | None, config: str | None) -> int:
    """Print the facts of each RUN, or of all active runs, one JSON object a line.

    Every fact of a run's journal is printed once and in its order, with task_id and run_id; those
    of several runs are put side by side by their time. With -f new facts are printed as they come:
    with RUNs until all have ended, else for ever, with every run that is accepted meanwhile.

    Example: supervisor events -f latest
    """
    layout = layout_of(root, config, writes=False)
    if not runs:
        everything = RootFacts(layout)
        _print(everything.read_new())
        while follow:
            pause(FOLLOW_S)
            _print(everything.read_new())
        return 0
    stream = RunFacts(layout, [find_run(layout, name) for name in runs])
    _print(stream.read_new())
    waiting = Waiting(layout)
    while follow and not stream.is_done:
        waiting.explain()
        pause(FOLLOW_S)
        _print(stream.read_new())
    return 0


def _print(found: Iterable[RunFact]) -> None:
    lines = [json_line("event", fact_json(told)) for told in found]
    if lines:
        sys.stdout.write("".join(lines))
        sys.stdout.flush()

"""``supervisor events``."""

import sys
from collections.abc import Iterable

import click

from supervisor.commands.options import RUN, root_options
from supervisor.commands.wait_notice import FOLLOW_S, WaitNotice, sleep_while_stdout_open
from supervisor.config.find_root import layout_of
from supervisor.report.read.find_run import find_run
from supervisor.report.read.journal_follower import RootFacts, RunFact, RunFacts, fact_json
from supervisor.report.text.output import json_line


@click.command("events", epilog=RUN)
@click.argument("runs", metavar="[RUN]...", nargs=-1)
@click.option("-f", "--follow", is_flag=True, help="Print new events until the RUNs have ended.")
@root_options
def command(runs: tuple[str, ...], follow: bool, root: str | None, config: str | None) -> int:
    """Print journal events as NDJSON.

    Prints the events of each RUN, or of all active runs, sorted by time: one JSON object per line,
    with task_id and run_id. With -f and without RUN, it follows all runs, new ones too, for ever.

    Example: supervisor events -f latest
    """
    layout = layout_of(root, config, writes=False)
    if not runs:
        everything = RootFacts(layout)
        _print(everything.read_new())
        while follow:
            sleep_while_stdout_open(FOLLOW_S)
            _print(everything.read_new())
        return 0
    stream = RunFacts(layout, [find_run(layout, name) for name in runs])
    _print(stream.read_new())
    notice = WaitNotice(layout)
    while follow and not stream.is_done:
        notice.update()
        sleep_while_stdout_open(FOLLOW_S)
        _print(stream.read_new())
    return 0


def _print(facts: Iterable[RunFact]) -> None:
    lines = [json_line("event", fact_json(fact)) for fact in facts]
    if lines:
        sys.stdout.write("".join(lines))
        sys.stdout.flush()

"""``supervisor doctor``: check the machine and the root."""

import click

from supervisor.commands.options import json_option, root_options
from supervisor.config.find_root import find_layout, layout_of
from supervisor.config.load import settings_of
from supervisor.doctor.check_result import Level
from supervisor.doctor.run_checks import check_configuration, run_checks
from supervisor.report.text.output import print_error, print_json, table
from workers.entry.probe import answer_doctor as answer
from workers.records.files import make_private
from workers.records.layout import Layout

UNFIT = 73  # docs/reference/exit-codes.md
UNASKED = 124  # likewise


@click.command("doctor")
@click.option(
    "--hosts",
    type=click.IntRange(0),
    default=0,
    metavar="N",
    help="Check the root together with N other hosts that run 'doctor --echo'.",
)
@click.option("--echo", is_flag=True, help="Only answer the doctor of another host.")
@root_options
@json_option
def command(hosts: int, echo: bool, root: str | None, config: str | None, as_json: bool) -> int:
    """Check the machine and the root, and print fixes.

    Each check ends with ok, warn (usable, but degraded) or bad ('start' would refuse, or records
    could be lost). Doctor changes nothing: it writes small files next to the supervisor's and
    removes them again.

    If several hosts share the root, run 'supervisor doctor --echo' on the others and 'supervisor
    doctor --hosts N' on one. --echo waits up to 10 minutes.

    Exit status: 0, 73 (a check is bad), 124 (no host asked --echo).

    Example: supervisor doctor --json
    """
    if echo:
        return _echo(layout_of(root, config, writes=True))
    layout, trust = find_layout(root, config)
    results = [
        *check_configuration(layout, trust, config),
        *run_checks(layout, settings_of(layout, config), config, hosts_count=hosts),
    ]
    if as_json:
        facts = {"root": layout.root, "findings": [result.to_json() for result in results]}
        print_json("doctor", facts)
    else:
        texts = ("; ".join(filter(None, (result.what, result.fix))) for result in results)
        rows = [(r.level, r.check, text) for r, text in zip(results, texts, strict=True)]
        click.echo(table(("", "CHECK", "RESULT AND FIX"), rows))
    return UNFIT if any(result.level is Level.BAD for result in results) else 0


def _echo(layout: Layout) -> int:
    make_private(layout.runs, layout.control)
    if answer(layout.probe, report=print_error):
        return 0
    print_error("no doctor asked for 10 minutes")
    return UNASKED

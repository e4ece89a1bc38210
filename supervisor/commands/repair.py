"""``supervisor repair``: put right what ``verify`` reports."""

import os

import click

from supervisor.commands.options import json_option, root_options
from supervisor.commands.verify import BAD_RECORDS
from supervisor.config.find_root import layout_of
from supervisor.config.load import settings_of
from supervisor.report.text.output import print_json, print_line
from supervisor.report.text.sanitize import clean_line
from supervisor.report.verify.verify_root import verify


@click.command("repair", short_help="Repair what verify reports.")
@root_options
@json_option
def command(root: str | None, config: str | None, as_json: bool) -> int:
    """Repair the records that 'verify' reports, and print each repair.

    The journals win over manifests, histories, states and metrics; of several verdicts the first
    one stands. Everything that is moved or replaced is kept in .runs/.supervisor/repaired/. A run
    that nobody would finish is finished by the next start. 'supervisor verify' lists what would be
    repaired. Exits with 75 while a supervisor serves the root, and with 65 if something is left
    that only a person can repair.

    Example: supervisor repair
    """
    layout = layout_of(root, config, writes=True)
    if not os.path.isdir(layout.runs):
        done, left, kept_in = [], [], None
    else:
        from supervisor.daemon.build import repair_for

        with repair_for(layout, settings_of(layout, config)) as repair:
            done, left = list(repair.run()), list(verify(layout))
            kept_in = repair.kept_in if os.path.isdir(repair.kept_in) else None
    if as_json:
        facts = {
            "root": layout.root,
            "repaired": [{"path": d.path, "what": d.what, "done": d.done} for d in done],
            "violations": [{"path": item.path, "what": item.problem} for item in left],
            "kept_in": kept_in,
        }
        print_json("repair", facts)
    else:
        for repaired in done:
            print_line(clean_line(f"{repaired.path}: {repaired.what}; {repaired.done}"))
        for found in left:
            print_line(
                clean_line(f"{found.path}: {found.problem}; not repaired: see to it yourself")
            )
        if kept_in is not None:
            print_line(clean_line(f"what was moved or replaced is in {kept_in}/"))
        print_line(clean_line(f"{layout.root}: {len(done)} repaired, {len(left)} left"))
    return BAD_RECORDS if left else 0

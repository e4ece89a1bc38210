"""``supervisor repair``."""

import os

import click

from supervisor.commands.options import json_option, root_options
from supervisor.commands.verify import BAD_RECORDS
from supervisor.config.find_root import layout_of
from supervisor.config.load import settings_of
from supervisor.report.text.output import print_json, print_line
from supervisor.report.text.sanitize import clean_line
from supervisor.report.verify.verify_root import verify


@click.command("repair")
@root_options
@json_option
def command(root: str | None, config: str | None, as_json: bool) -> int:
    """Repair the records that 'verify' reports.

    Rebuilds manifests, histories, states and metrics from the journals. If a run has several
    verdicts, the first counts. Keeps every file that it moves or replaces in
    .runs/.supervisor/repaired/. Runs without a verdict get one from the next 'supervisor start'.

    Exit status: 0, 65 (something is left that only a person can repair), 75 (a supervisor is
    running).

    Example: supervisor repair
    """
    layout = layout_of(root, config, writes=True)
    if not os.path.isdir(layout.runs):
        done, left, kept_in = [], [], None
    else:
        from supervisor.daemon.build import repair_for

        with repair_for(layout, settings_of(layout, config)) as repair:
            done, left = list(repair.run()), list(verify(layout))
            kept_in = repair.saved_in if os.path.isdir(repair.saved_in) else None
    if as_json:
        facts = {
            "root": layout.root,
            "repaired": [{"path": d.path, "what": d.what, "done": d.done} for d in done],
            "violations": [{"path": item.path, "what": item.problem} for item in left],
            "kept_in": kept_in,
        }
        print_json("repair", facts)
    else:
        lines = [f"{item.path}: {item.what}; {item.done}" for item in done]
        lines += [f"{item.path}: {item.problem}; not repaired: repair it by hand" for item in left]
        lines += [] if kept_in is None else [f"moved and replaced files are in {kept_in}/"]
        for line in (*lines, f"{layout.root}: {len(done)} repaired, {len(left)} left"):
            print_line(clean_line(line))
    return BAD_RECORDS if left else 0

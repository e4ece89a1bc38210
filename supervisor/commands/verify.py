"""``supervisor verify``: hold every record under the root against the invariants."""

import click

from supervisor.commands.options import json_option, root_options
from supervisor.config.find_root import layout_of
from supervisor.report.read.queue_state import quarantine_lines
from supervisor.report.text.output import print_error, print_json, print_line
from supervisor.report.text.sanitize import clean_line
from supervisor.report.verify.verify_root import verify
from supervisor.store.root_listing import rejected

BAD_RECORDS = 65  # docs/reference/exit-codes.md


@click.command("verify", short_help="Hold every record against the invariants.")
@root_options
@json_option
def command(root: str | None, config: str | None, as_json: bool) -> int:
    """Look at every record under the root and list what breaks an invariant. Repairs nothing.

    One verdict per run, in journal, manifest, history, state and metrics alike; logs and error
    files as the journal tells them, within their limits; private files of our own; nothing half
    written. Runs of a later version are passed over. What of the inbox was set aside is no record:
    it is named on stderr. Exits with 65 where something is wrong.

    Example: supervisor verify --json
    """
    layout = layout_of(root, config, writes=False)
    found = list(verify(layout))
    if as_json:
        violations = [{"path": item.path, "what": item.problem} for item in found]
        facts = {"root": layout.root, "violations": violations, "rejected": rejected(layout)}
        print_json("verify", facts)
    else:
        for item in found:
            print_line(clean_line(f"{item.path}: {item.problem}"))
        for line in quarantine_lines(rejected(layout)):
            print_error(line)
        words = "every record is in order"
        if found:
            mendable = sum(item.repair is not None for item in found)
            words = f"{len(found)} violations; 'supervisor repair' repairs {mendable} of them"
        print_line(clean_line(f"{layout.root}: {words}"))
    return BAD_RECORDS if found else 0

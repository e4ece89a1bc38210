"""``supervisor verify``."""

import click

from supervisor.commands.options import json_option, root_options
from supervisor.config.find_root import layout_of
from supervisor.report.read.queue_state import quarantine_lines
from supervisor.report.text.output import print_error, print_json, print_line
from supervisor.report.text.sanitize import clean_line
from supervisor.report.verify.verify_root import verify
from supervisor.store.root_listing import rejected

BAD_RECORDS = 65  # docs/reference/exit-codes.md


@click.command("verify")
@root_options
@json_option
def command(root: str | None, config: str | None, as_json: bool) -> int:
    """Check every record for violations.

    Journal, manifest, history, state and metrics must agree on one verdict per run. Logs and error
    files must match the journal and their size limits. Files must be private and complete. Changes
    nothing. Runs of a later version are skipped. Rejected requests are listed on stderr.

    Exit status: 0, 65 (violations).

    Example: supervisor verify --json
    """
    layout = layout_of(root, config, writes=False)
    violations = list(verify(layout))
    if as_json:
        listed = [{"path": item.path, "what": item.problem} for item in violations]
        facts = {"root": layout.root, "violations": listed, "rejected": rejected(layout)}
        print_json("verify", facts)
    else:
        for item in violations:
            print_line(clean_line(f"{item.path}: {item.problem}"))
        for line in quarantine_lines(rejected(layout)):
            print_error(line)
        result = "every record is in order"
        if violations:
            count = sum(item.repair is not None for item in violations)
            result = f"{len(violations)} violations; 'supervisor repair' repairs {count} of them"
        print_line(clean_line(f"{layout.root}: {result}"))
    return BAD_RECORDS if violations else 0

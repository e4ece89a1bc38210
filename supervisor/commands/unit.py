"""``supervisor unit``: a systemd user unit under which runs survive the supervisor's restart."""

import os
import sys

import click

from supervisor.commands.options import root_options
from supervisor.config.find_root import absolute, layout_of
from supervisor.report.export.systemd_unit import unit_text
from supervisor.report.text.output import print_line


@click.command("unit", short_help="Print a systemd user unit.")
@root_options
def command(root: str | None, config: str | None) -> int:
    """Print a systemd user unit that serves the root. Installs nothing.

    Stopping or restarting it leaves the workers at work, and the next start adopts them; to end
    them, cancel them first. PATH is that of this shell, since stages look for their programs
    there. "systemctl --user reload" reads the configuration again. Where runs are to go on when
    you log out: loginctl enable-linger

    Example: supervisor unit > ~/.config/systemd/user/supervisor.service
    """
    layout = layout_of(root, config, writes=False)
    beside = os.path.join(os.path.dirname(sys.executable), "supervisor")
    program = (beside,) if os.access(beside, os.X_OK) else (sys.executable, "-m", "supervisor")
    given = None if config is None else absolute(config)
    print_line(
        unit_text(program, layout.root, given, os.environ.get("PATH", os.defpath)).rstrip("\n")
    )
    return 0

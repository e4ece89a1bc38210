"""``supervisor unit``."""

import os
import sys

import click

from supervisor.commands.options import root_options
from supervisor.config.find_root import absolute, layout_of
from supervisor.report.export.systemd_unit import unit_text
from supervisor.report.text.output import print_line


@click.command("unit")
@root_options
def command(root: str | None, config: str | None) -> int:
    """Print a systemd user unit.

    The unit starts the supervisor of the root, with the PATH of this shell, because stages search
    it for programs. Stopping or restarting the unit keeps the workers running, and the next start
    adopts them; to end runs, cancel them first. 'systemctl --user reload' reloads the
    configuration. To keep runs going after you log out: loginctl enable-linger

    Example: supervisor unit > ~/.config/systemd/user/supervisor.service
    """
    layout = layout_of(root, config, writes=False)
    script = os.path.join(os.path.dirname(sys.executable), "supervisor")
    argv = (script,) if os.access(script, os.X_OK) else (sys.executable, "-m", "supervisor")
    given = None if config is None else absolute(config)
    text = unit_text(argv, layout.root, given, os.environ.get("PATH", os.defpath))
    print_line(text.rstrip("\n"))
    return 0

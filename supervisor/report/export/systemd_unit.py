"""The text of a systemd user unit, with every path escaped as systemd reads it.

* ``KillMode=process`` and ``ExecStop`` with ``--leave-running``: workers outlive the supervisor,
  and the next start adopts them. ``OOMPolicy=continue``: the supervisor reports a stage that
  the OOM killer ends; the unit goes on.
* ``Type=notify`` and ``WatchdogSec``: the unit is active once the supervisor has recovered from the
  last crash, and is restarted if its loop hangs.
"""

from collections.abc import Sequence
from typing import Final

from supervisor.errors import UsageError

WATCHDOG_S: Final = 120  # the loop turns once a second; a flush on a sick disk may take a minute
NO_RESTART_CODES: Final = "2 75 78"  # usage, another supervisor, configuration: no restart helps
_NOT_IN_A_PROGRAM: Final = frozenset("\"'\\$")  # systemd allows them in arguments only


def quote(argument: str) -> str:
    r"""Quote an argument of a systemd command line, with ``\``, ``"``, ``%`` and ``$`` escaped.

    Raises:
        UsageError: it has a character that a unit file cannot contain.
    """
    return _quote_value(argument).replace("$", "$$")


def _quote_value(value: str) -> str:
    if not value.isprintable():
        raise UsageError(reason=f"a unit file cannot contain {value!a}; choose another path")
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'


def unit_text(program: Sequence[str], root: str, config: str | None, path: str) -> str:
    """Compose the unit.

    Args:
        program: the arguments that start this program, the first an absolute path.
        root: the root to serve.
        config: the absolute path of ``--config``; None for the default.
        path: PATH for the stages.

    Raises:
        UsageError: a path has a character that a unit file cannot contain.
    """
    if set(program[0]) & _NOT_IN_A_PROGRAM:
        program = ("/usr/bin/env", *program)
    where = ["--root", root, *(() if config is None else ("--config", config))]
    start = " ".join(quote(word) for word in (*program, "start", *where))
    stop = " ".join(quote(word) for word in (*program, "stop", "--leave-running", "--root", root))
    plain = root if root.isprintable() and "\\" not in root else "a root"
    return f"""\
# Created by 'supervisor unit'. To install it:
#   supervisor unit > ~/.config/systemd/user/supervisor.service
#   systemctl --user daemon-reload && systemctl --user enable --now supervisor
# Stopping it leaves the workers running; the next start adopts them.

[Unit]
Description=Supervisor of the pipelines of {plain.replace("%", "%%")}

[Service]
Type=notify
Environment={_quote_value(f"PATH={path}")}
ExecStart={start}
ExecReload=/bin/kill -HUP $MAINPID
ExecStop={stop}
KillMode=process
OOMPolicy=continue
SuccessExitStatus=130 143
Restart=on-failure
RestartSec=2
RestartPreventExitStatus={NO_RESTART_CODES}
TimeoutStartSec=infinity
WatchdogSec={WATCHDOG_S}

[Install]
WantedBy=default.target
"""

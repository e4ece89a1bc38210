"""The text of a systemd user unit, with every path escaped as systemd reads it.

* ``KillMode=process`` and ``ExecStop`` with ``--leave-running``: the workers outlive the
  supervisor; the next start adopts them. ``OOMPolicy=continue``: a stage that is killed for want of
  memory is the supervisor's to report, not a reason to stop the unit.
* ``Type=notify`` and ``WatchdogSec``: it is up when it has recovered what a crash left, and is
  restarted where its loop stands still.
"""

from collections.abc import Sequence
from typing import Final

from supervisor.errors import UsageError

WATCHDOG_S: Final = 120  # the loop turns once a second; a flush on a sick disk may take a minute
NO_RESTART_CODES: Final = "2 75 78"  # usage, another supervisor, configuration: no restart helps
_NOT_IN_A_PROGRAM: Final = frozenset("\"'\\$")  # systemd takes them in arguments alone


def quote(word: str) -> str:
    r"""A word of a command line of systemd: in quotes, with ``\``, ``"``, ``%`` and ``$`` escaped.

    Raises:
        UsageError: it holds what no unit file can say.
    """
    return _quoted(word).replace("$", "$$")


def _quoted(word: str) -> str:
    if not word.isprintable():
        raise UsageError(reason=f"{word!a} cannot stand in a unit file; choose a path without it")
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'


def unit_text(program: Sequence[str], root: str, config: str | None, path: str) -> str:
    """Compose the unit.

    Args:
        program: the words that start this program, the first an absolute path.
        root: the root to serve.
        config: ``--config``, absolute, None where it is the usual one.
        path: PATH for the stages.

    Raises:
        UsageError: a path holds what no unit file can say.
    """
    if set(program[0]) & _NOT_IN_A_PROGRAM:
        program = ("/usr/bin/env", *program)
    where = ["--root", root, *(() if config is None else ("--config", config))]
    start = " ".join(quote(word) for word in (*program, "start", *where))
    stop = " ".join(quote(word) for word in (*program, "stop", "--leave-running", "--root", root))
    plain = root if root.isprintable() and "\\" not in root else "a root"
    return f"""\
# Made by 'supervisor unit'. To install it:
#   supervisor unit > ~/.config/systemd/user/supervisor.service
#   systemctl --user daemon-reload && systemctl --user enable --now supervisor
# Stopping it leaves the workers at work; the next start adopts them.

[Unit]
Description=Supervisor of the pipelines of {plain.replace("%", "%%")}

[Service]
Type=notify
Environment={_quoted(f"PATH={path}")}
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

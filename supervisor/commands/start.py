"""``supervisor start``."""

import contextlib
import os
from collections.abc import Iterator
from typing import Any, get_args

import click

from supervisor.commands.options import json_option, param_option, root_options
from supervisor.config.find_root import PREFIX
from supervisor.config.settings import Launcher
from supervisor.daemon.sd_notify import notifier_of
from supervisor.launchers.zygote_client import ZygoteSpawner


@click.command("start")
@click.argument("pipelines", metavar="[PIPELINE]...", nargs=-1)
@click.option("--once", is_flag=True, help="Exit when all runs have ended, with the worst outcome.")
@click.option("--batch", metavar="FILE", help="Batch to run. Default: the setting batch.")
@click.option("--again", is_flag=True, help="Start an unfinished batch again.")
@click.option("--task", metavar="ID", help="Task of runs without one.")
@param_option
@click.option("--max-runs", type=int, metavar="N", help="Runs at once, at most.")
@click.option("--launcher", type=click.Choice(get_args(Launcher)), help="How workers are started.")
@click.option(
    "--dask-scheduler", metavar="ADDRESS", help="Scheduler for --launcher dask: tcp://HOST:PORT."
)
@click.option("--lease-fd", type=int, hidden=True)
@root_options
@json_option
def command(**options: Any) -> int:  # noqa: ANN401 - main.StartOptions declares them
    """Start the supervisor.

    Runs the PIPELINEs, or else the batch, and every submitted run, until it is stopped; with
    --once, until all runs have ended. Continues an unfinished batch, and recovers the runs of a
    supervisor that was killed. A root has one supervisor at a time.

    The first INT (Ctrl-C) or TERM drains: running runs finish, queued runs stay queued. The second
    cancels the running runs. HUP reloads the configuration; if it has mistakes, the old one stays.

    Exit status: 0, 10 (a run failed), 11 (cancelled), 12 (lost), 73 (cannot write; lists the runs
    without a recorded verdict), 75 (another supervisor serves the root), 78 (configuration),
    130/143 (ended by INT/TERM).

    Example: supervisor start --once --batch config/batches/diagnostics.toml
    """
    notifier = notifier_of(os.environ, os.getpid())
    with _zygote(options["launcher"], is_temporary=options["lease_fd"] is not None) as zygote:
        from supervisor.daemon.main import StartOptions, supervise

        return supervise(StartOptions(**options), notifier, zygote)


@contextlib.contextmanager
def _zygote(launcher: str | None, *, is_temporary: bool) -> Iterator[ZygoteSpawner]:
    """Start the zygote in parallel to the slow imports of the supervisor.

    It knows no root yet, and exits if the start fails or the configuration has another launcher.
    A temporary supervisor has none: callers host their runs.
    """
    zygote = ZygoteSpawner()
    try:
        if (
            not is_temporary
            and (launcher or os.environ.get(f"{PREFIX}LAUNCHER") or "zygote") == "zygote"
        ):
            with contextlib.suppress(OSError):  # daemon.build tries again
                zygote.prepare()
        yield zygote
    finally:
        zygote.close()

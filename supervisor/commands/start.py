"""``supervisor start``: take the lease, recover, and supervise."""

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


@click.command("start", short_help="Supervise runs.")
@click.argument("pipelines", metavar="[PIPELINE]...", nargs=-1)
@click.option("--once", is_flag=True, help="Leave when all is done, with the worst outcome's code.")
@click.option("--batch", metavar="FILE", help="The batch to run. Default: the setting `batch`.")
@click.option("--again", is_flag=True, help="Make the batch anew although it is unfinished.")
@click.option("--task", metavar="ID", help="The task of runs that name none.")
@param_option
@click.option("--max-runs", type=int, metavar="N", help="Runs at once.")
@click.option(
    "--launcher", type=click.Choice(get_args(Launcher)), help="How, or by whom, runs are started."
)
@click.option(
    "--dask-scheduler",
    metavar="ADDRESS",
    help="Who places runs with --launcher dask: tcp://HOST:PORT.",
)
@click.option("--lease-fd", type=int, hidden=True)
@root_options
@json_option
def command(**words: Any) -> int:  # noqa: ANN401 - supervising.Asked spells them
    """Supervise the PIPELINEs named, or the batch, and whatever is handed in meanwhile.

    One supervisor serves a root. What a crash left is recovered first; a batch that is unfinished
    is continued. The first TERM or INT drains, the second stops; HUP reads the configuration again
    and tells what changed; one with errors is refused, and the old one stays.

    Exits with 10 (a run failed), 11 (cancelled), 12 (lost), 73 (cannot write: the runs whose
    result is not on disk are listed), 75 (another supervisor), 78 (configuration), 130/143 (ended
    by INT/TERM).

    Example: supervisor start --once --batch config/batches/diagnostics.toml
    """
    notifier = notifier_of(os.environ, os.getpid())
    with _early(words["launcher"], is_temporary=words["lease_fd"] is not None) as by_fork:
        from supervisor.daemon.main import Asked, supervise

        return supervise(Asked(**words), notifier, by_fork)


@contextlib.contextmanager
def _early(launcher: str | None, *, is_temporary: bool) -> Iterator[ZygoteSpawner]:
    """Start what forks workers before anything else is imported, which takes as long.

    It knows no root yet and touches nothing; if nothing comes of this start, or a file asks for
    another launcher, it ends. A temporary supervisor starts none: callers host their runs.
    """
    by_fork = ZygoteSpawner()
    try:
        if (
            not is_temporary
            and (launcher or os.environ.get(f"{PREFIX}LAUNCHER") or "zygote") == "zygote"
        ):
            with contextlib.suppress(OSError):  # wiring tries again
                by_fork.prepare()
        yield by_fork
    finally:
        by_fork.close()

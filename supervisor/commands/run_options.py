"""``PIPELINE`` or ``-- COMMAND ARG...``: what ``run`` and ``submit`` have in common."""

import contextlib
import os
import sys
from collections.abc import Mapping
from typing import TypedDict

import click

from supervisor.commands.options import Decorated, json_option, param_option, root_options
from supervisor.config.find_root import absolute
from supervisor.config.load import LoadedConfig, load_config
from supervisor.config.run_specs import SpecBuilder
from supervisor.config.secrets import secrets_in
from supervisor.config.settings import PLACED
from supervisor.errors import UsageError
from supervisor.report.text.output import print_error
from workers.records.identity import root_id
from workers.records.ids import is_run_id
from workers.records.layout import Layout
from workers.records.limits import PRIORITY_LIMIT
from workers.records.spec import RunSpec


class Wished(TypedDict):
    """What the options below say."""

    task: str | None
    params: tuple[str, ...]
    priority: int
    group: str | None
    after: tuple[str, ...]
    env: tuple[str, ...]
    cwd: str | None


def asking_options(function: Decorated) -> Decorated:
    """What to run, in which task, under which root, told how."""
    words = click.argument(
        "words", metavar="PIPELINE | -- COMMAND [ARG]...", nargs=-1, required=True
    )
    task = click.option("--task", metavar="ID", help="The task of the run. Default: the setting.")
    priority = click.option(
        "--priority",
        type=click.IntRange(-PRIORITY_LIMIT, PRIORITY_LIMIT),
        default=0,
        metavar="N",
        help="The higher starts first, equal ones as they were accepted; -1000 to 1000, default 0.",
    )
    group = click.option(
        "--group", metavar="NAME", help="The concurrency group. Default: the pipeline's."
    )
    after = click.option(
        "--after",
        metavar="RUN",
        multiple=True,
        help="Start when that run has succeeded; where it does not, this one is cancelled. "
        "Once for each.",
    )
    cwd = click.option(
        "--cwd",
        metavar="DIR",
        help="Where a COMMAND runs. Default: the current directory. A pipeline runs in the root, "
        "or where it says.",
    )
    env = click.option(
        "--env",
        metavar="NAME[=VALUE]",
        multiple=True,
        help="Set a variable for every stage, or copy yours; repeatable. The value is recorded.",
    )
    shared = root_options(json_option(click.pass_context(function)))
    decorated: Decorated = words(task(param_option(env(cwd(priority(group(after(shared))))))))
    return decorated


def ask_for(
    ctx: click.Context,
    words: tuple[str, ...],
    wished: Wished,
    root: str | None,
    config: str | None,
    *,
    asked_by: str,
) -> tuple[Layout, RunSpec]:
    """Resolve what one run is to do.

    Args:
        ctx: click's, for the command's name.
        words: a pipeline, or a command and its arguments.
        wished: the options.
        root: ``--root``.
        config: ``--config``.
        asked_by: "run" or "submit".

    Raises:
        UsageError: it is neither one pipeline nor a command behind ``--``, a parameter is wrong,
            there is no such group, or a secret is in it.
        UnknownRunError: no run is called as ``--after`` says.
        ConfigError: the configuration is wrong, or nobody serves and its launcher is missing.
    """
    given = load_config(root, config)
    if asked_by == "run" and given.settings.launcher in PLACED:
        _check_engine(given)
    is_command = _behind_dashes(words)
    if wished["cwd"] is not None and not is_command:
        raise UsageError(reason="--cwd is for a COMMAND behind '--': a pipeline says where it runs")
    if is_command:
        wished = {**wished, "cwd": _directory(given.layout.root, wished["cwd"])}
    wish = given.run_options(**wished)
    asking = SpecBuilder(
        settings=given.settings,
        asked_by=asked_by,
        nested_in=_outer_run(given.layout, os.environ),
    )
    if is_command:
        told = secrets_in(list(words), given.settings.secrets, os.environ)
        if told:
            raise UsageError(
                reason=f"the command contains the value of the secret {told[0]}, which would be "
                f"recorded: let it read {told[0]} from its environment"
            )
        return given.layout, asking.command(words, wish)
    if len(words) > 1:
        raise UsageError(
            reason=f"one pipeline, or a command behind '--': supervisor {ctx.info_name} -- "
            + " ".join(words)
        )
    return given.layout, asking.named(given.catalog, words[0], wish)


def _directory(root: str, chosen: str | None) -> str | None:
    """Where a command runs: a path below the root as seen from there, else an absolute one.

    Without ``--cwd`` a directory that cannot be entered by its path does not stop the command.
    """
    if chosen is not None:
        if not os.path.isdir(path := absolute(chosen)):
            raise UsageError(reason=f"--cwd {path}: there is no such directory")
    else:
        try:
            path = os.getcwd()
            os.stat(os.path.join(path, "."))
        except OSError as error:
            print_error(
                f"the current directory cannot be entered ({error.strerror}): running in {root}"
            )
            return None
    below = os.path.relpath(path, root)
    if below == ".":
        return None
    return path if below.startswith(os.pardir) else below


def _outer_run(layout: Layout, environ: Mapping[str, str]) -> str | None:
    """The run of this root in one of whose stages we were called."""
    run_id = environ.get("SUPERVISED_RUN_ID", "")
    if not is_run_id(run_id):
        return None
    with contextlib.suppress(OSError):  # a root that is not there has no runs
        if environ.get("SUPERVISED_ROOT_ID") == root_id(layout.runs):
            return run_id
    return None


def _check_engine(given: LoadedConfig) -> None:
    """Where nobody serves the root we start who does: what that one would lack is told before."""
    from supervisor.config.launcher_check import check_launcher
    from workers.records.flock import is_flocked

    if not is_flocked(given.layout.lease_lock):
        check_launcher(given.settings)


def _behind_dashes(words: tuple[str, ...]) -> bool:
    """Click removes the ``--``; the command line still has it, right before the words."""
    at = len(sys.argv) - len(words) - 1
    return sys.argv[at:] == ["--", *words]

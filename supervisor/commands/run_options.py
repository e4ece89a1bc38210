"""The arguments of ``run`` and ``submit``: a pipeline, or a command after ``--``."""

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


class GivenOptions(TypedDict):
    """The options of one run, as given."""

    task: str | None
    params: tuple[str, ...]
    priority: int
    group: str | None
    after: tuple[str, ...]
    env: tuple[str, ...]
    cwd: str | None


def spec_options(function: Decorated) -> Decorated:
    """The arguments and options of one run."""
    argv = click.argument("argv", metavar="PIPELINE | -- COMMAND [ARG]...", nargs=-1, required=True)
    task = click.option("--task", metavar="ID", help="Task of the run. Default: the setting task.")
    env = click.option(
        "--env",
        metavar="NAME[=VALUE]",
        multiple=True,
        help="Set or copy a variable for every stage. Repeatable. The value is recorded.",
    )
    cwd = click.option(
        "--cwd", metavar="DIR", help="Directory of COMMAND. Default: the current directory."
    )
    priority = click.option(
        "--priority",
        type=click.IntRange(-PRIORITY_LIMIT, PRIORITY_LIMIT),
        default=0,
        metavar="N",
        help="Runs with a higher priority start first. Default: 0.",
    )
    group = click.option(
        "--group", metavar="NAME", help="Concurrency group. Default: the pipeline's."
    )
    after = click.option(
        "--after",
        metavar="RUN",
        multiple=True,
        help="Start after RUN has succeeded; if it does not, this run is cancelled. Repeatable.",
    )
    shared = root_options(json_option(click.pass_context(function)))
    decorated: Decorated = argv(task(param_option(env(cwd(priority(group(after(shared))))))))
    return decorated


def build_spec(
    ctx: click.Context,
    argv: tuple[str, ...],
    options: GivenOptions,
    root: str | None,
    config: str | None,
    *,
    asked_by: str,
) -> tuple[Layout, RunSpec]:
    """Build the spec of one run.

    Args:
        ctx: has the command's name.
        argv: a pipeline, or a command and its arguments.
        options: the run's options.
        root: ``--root``.
        config: ``--config``.
        asked_by: "run" or "submit".

    Raises:
        UsageError: it is neither one pipeline nor a command after ``--``, a parameter or group is
            unknown, or it contains the value of a secret.
        UnknownRunError: there is no run of ``--after``.
        ConfigError: the configuration is wrong, or its launcher cannot be used here.
    """
    given = load_config(root, config)
    if asked_by == "run" and given.settings.launcher in PLACED:
        _check_launcher(given)
    is_command = _after_dashes(argv)
    if options["cwd"] is not None and not is_command:
        raise UsageError(
            reason="--cwd is for a COMMAND after '--'; set the key cwd of a pipeline instead"
        )
    if is_command:
        options = {**options, "cwd": _directory(given.layout.root, options["cwd"])}
    run_options = given.run_options(**options)
    builder = SpecBuilder(
        settings=given.settings, asked_by=asked_by, nested_in=_outer_run(given.layout, os.environ)
    )
    if is_command:
        secrets = secrets_in(list(argv), given.settings.secrets, os.environ)
        if secrets:
            raise UsageError(
                reason=f"the command contains the value of the secret {secrets[0]}, which would "
                f"be recorded: let it read {secrets[0]} from its environment"
            )
        return given.layout, builder.command(argv, run_options)
    if len(argv) > 1:
        raise UsageError(
            reason="give one pipeline, or a command after '--': "
            f"supervisor {ctx.info_name} -- {' '.join(argv)}"
        )
    return given.layout, builder.named(given.catalog, argv[0], run_options)


def _directory(root: str, chosen: str | None) -> str | None:
    """The directory of a command: relative to the root if below it, else absolute.

    Without ``--cwd``, a current directory that cannot be entered by its path is replaced by the
    root.
    """
    if chosen is not None:
        if not os.path.isdir(path := absolute(chosen)):
            raise UsageError(reason=f"--cwd {path} is not a directory")
    else:
        try:
            path = os.getcwd()
            os.stat(os.path.join(path, "."))
        except OSError as error:
            print_error(f"cannot enter the current directory ({error.strerror}): running in {root}")
            return None
    below = os.path.relpath(path, root)
    if below == ".":
        return None
    return path if below.startswith(os.pardir) else below


def _outer_run(layout: Layout, environ: Mapping[str, str]) -> str | None:
    """The run of this root in whose stage this process runs, None outside of one."""
    run_id = environ.get("SUPERVISED_RUN_ID", "")
    if not is_run_id(run_id):
        return None
    with contextlib.suppress(OSError):  # the root does not exist yet
        if environ.get("SUPERVISED_ROOT_ID") == root_id(layout.runs):
            return run_id
    return None


def _check_launcher(given: LoadedConfig) -> None:
    """Check the launcher for the temporary supervisor that ``run`` would start."""
    from supervisor.config.launcher_check import check_launcher
    from workers.records.flock import is_flocked

    if not is_flocked(given.layout.lease_lock):
        check_launcher(given.settings)


def _after_dashes(argv: tuple[str, ...]) -> bool:
    """Whether ``--`` came before the arguments; click removes it, but sys.argv has it."""
    at = len(sys.argv) - len(argv) - 1
    return sys.argv[at:] == ["--", *argv]

"""``supervisor validate``."""

import os

import click

from supervisor.commands.options import json_option, root_options
from supervisor.config.find_root import ORIGIN, absolute
from supervisor.config.load import load_config
from supervisor.errors import ConfigError, Problem
from supervisor.report.text.output import print_json, print_line


@click.command("validate")
@click.option(
    "--batch", "batches", metavar="FILE", multiple=True, help="Batch to check. Repeatable."
)
@root_options
@json_option
def command(batches: tuple[str, ...], root: str | None, config: str | None, as_json: bool) -> int:
    """Check the configuration.

    Checks settings, pipelines, the batch of the settings, and each --batch. Prints every mistake
    with its file and key. Creates nothing.

    Exit status: 0, 78 (a mistake).

    Example: supervisor validate --batch config/batches/diagnostics.toml
    """
    given = load_config(root, config, writes=False)
    named: list[str | None] = [absolute(path) for path in batches]
    default = given.settings.batch
    if default is not None and default not in named:
        named.append(None)
    paths = [path or default for path in named]
    problems: list[Problem] = []
    for path in named:
        try:
            given.batch(path)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems=problems)
    names = sorted(given.catalog.pipelines)
    if as_json:
        print_json("validate", {"config": given.project, "pipelines": names, "batches": paths})
    else:
        origin = os.path.join(given.layout.root, ORIGIN)
        files = [given.project, origin if os.path.lexists(origin) else None]
        read = " and ".join(path for path in files if path) or "no configuration file"
        print_line(f"{read}: ok, {len(names)} pipeline{'' if len(names) == 1 else 's'}")
        for path in paths:
            print_line(f"{path}: ok")
    return 0

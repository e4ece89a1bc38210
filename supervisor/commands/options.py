"""The options that several commands share."""

from collections.abc import Callable
from typing import Any, Final

import click

Decorated = Callable[..., Any]
RUN: Final = 'RUN is a run id, a unique prefix of it, its last 8 characters, or "latest".'

root_option: Final[Callable[[Decorated], Decorated]] = click.option(
    "--root",
    metavar="DIR",
    help="Directory with .runs/ and out/. Default: $SUPERVISOR_ROOT, else the nearest directory "
    "upwards with config/supervisor.toml or .runs/.",
)
_config_option: Final[Callable[[Decorated], Decorated]] = click.option(
    "--config", metavar="FILE", help="Configuration. Default: config/supervisor.toml in the root."
)
param_option: Final[Callable[[Decorated], Decorated]] = click.option(
    "--param",
    "params",
    metavar="NAME=VALUE",
    multiple=True,
    help="Set a parameter of the pipeline. Repeatable.",
)
group_option: Final[Callable[[Decorated], Decorated]] = click.option(
    "--group", metavar="NAME", help="Only this concurrency group."
)
json_option: Final[Callable[[Decorated], Decorated]] = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON, and nothing else, on stdout."
)


def root_options(function: Decorated) -> Decorated:
    """``--root`` and ``--config``."""
    return root_option(_config_option(function))

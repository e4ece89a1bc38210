"""The options that several verbs share."""

from collections.abc import Callable
from typing import Any

import click

Decorated = Callable[..., Any]


def root_option(function: Decorated) -> Decorated:
    """``--root``."""
    option = click.option(
        "--root",
        metavar="DIR",
        help="The directory with .runs/ and out/. Default: SUPERVISOR_ROOT, else the nearest "
        "folder upward with config/supervisor.toml or .runs/.",
    )
    decorated: Decorated = option(function)
    return decorated


def root_options(function: Decorated) -> Decorated:
    """``--root`` and ``--config``."""
    option = click.option(
        "--config",
        metavar="FILE",
        help="The configuration. Default: config/supervisor.toml under the root.",
    )
    return root_option(option(function))


def param_option(function: Decorated) -> Decorated:
    """``--param``."""
    option = click.option(
        "--param",
        "params",
        metavar="NAME=VALUE",
        multiple=True,
        help="A parameter that the pipeline declares; once for each.",
    )
    decorated: Decorated = option(function)
    return decorated


def group_option(function: Decorated) -> Decorated:
    """``--group`` of the verbs that hold runs back."""
    option = click.option("--group", metavar="NAME", help="Of this concurrency group only.")
    decorated: Decorated = option(function)
    return decorated


def json_option(function: Decorated) -> Decorated:
    """``--json``."""
    option = click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else.")
    decorated: Decorated = option(function)
    return decorated

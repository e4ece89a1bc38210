"""The options that several verbs share."""

import os
from collections.abc import Callable
from typing import Any

import click

from supervisor.errors import ConfigError, Problem
from supervisor.plan.root import absolute, config_files, find_root, is_named, project_file
from supervisor.plan.trust import (
    Trust,
    check_believable,
    check_configuration,
    check_writable,
    trust_of,
)
from workers.records.layout import Layout

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


def layout_of(root: str | None, config: str | None, *, writes: bool) -> Layout:
    """Find the root that the options, the environment and the current directory name.

    Args:
        root: ``--root``.
        config: ``--config``.
        writes: the verb writes to the root or runs what its configuration says. A root that is
            named and belongs to another user may then only be read.

    Raises:
        ConfigError: ``--config`` names no file, or the configuration is another user's.
        ForeignRootError: the root is another user's.
        NoCurrentDirectoryError: the current directory is needed and was deleted.
    """
    layout, trust = find_layout(root, config)
    named = is_named(root, config, os.environ)
    if writes or not named:
        project = project_file(layout.root, config)
        files = config_files(layout.root, project, os.environ if writes else {})
        check_configuration(files, layout.root, trust, named=named)
    if writes:
        check_writable(layout, trust)
    elif not named:
        check_believable(layout, trust)
    return layout


def find_layout(root: str | None, config: str | None) -> tuple[Layout, Trust]:
    """Find the root whoever it belongs to, and who is trusted; errors as ``layout_of``.

    For ``doctor``, which reports what ``layout_of`` refuses.
    """
    trust = trust_of(os.environ, os.geteuid())
    layout = find_root(root=root, config=config, environ=os.environ, trust=trust)
    if config is not None:
        path = absolute(config)
        if not os.path.isfile(path):
            what = "is not a file" if os.path.lexists(path) else "does not exist"
            what = f"{what}; --config must name a configuration"
            raise ConfigError(problems=[Problem(path, "", what)])
    return layout, trust

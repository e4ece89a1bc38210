"""Where the root is, and its configuration. No dependency: readers need it."""

import os
from collections.abc import Mapping
from typing import Final

from workers.records.layout import Layout

CONFIG: Final = os.path.join("config", "supervisor.toml")
ORIGIN: Final = "codex.orchestrator.json"
PREFIX: Final = "SUPERVISOR_"  # of settings in the environment


def find_root(
    *, root: str | None, config: str | None, environ: Mapping[str, str], cwd: str
) -> Layout:
    """Find the root.

    Args:
        root: ``--root``, which wins.
        config: ``--config``; the root is then the parent of its folder.
        environ: its SUPERVISOR_ROOT comes second.
        cwd: the search goes upward from here.
    """
    chosen = root or environ.get("SUPERVISOR_ROOT")
    if chosen:
        return Layout(os.path.realpath(os.path.join(cwd, chosen)))
    if config:
        folder = os.path.dirname(os.path.realpath(os.path.join(cwd, config)))
        # The origin's JSON stands in the root itself, our TOML in a folder below it.
        return Layout(folder if config.endswith(".json") else os.path.dirname(folder))
    return Layout(_upward(os.path.realpath(cwd)))


def _upward(cwd: str) -> str:
    at = cwd
    while True:
        if os.path.isfile(os.path.join(at, CONFIG)) or os.path.isdir(os.path.join(at, ".runs")):
            return at
        parent = os.path.dirname(at)
        if parent == at:
            return cwd
        at = parent


def project_file(root: str, config: str | None) -> str | None:
    """The project's configuration: ``--config``, else the usual place if it is there."""
    if config is not None:
        return os.path.abspath(config)
    path = os.path.join(root, CONFIG)
    return path if os.path.lexists(path) else None


def user_file(environ: Mapping[str, str]) -> str | None:
    """The operator's own configuration, if it is there."""
    base = environ.get("XDG_CONFIG_HOME", "")
    if not os.path.isabs(base):  # as the XDG specification says of relative ones
        if "HOME" not in environ:
            return None
        base = os.path.join(environ["HOME"], ".config")
    path = os.path.join(base, "pipeline-supervisor", "supervisor.toml")
    return path if os.path.lexists(path) else None


def is_json(path: str) -> bool:
    """Tell by the name whether a file is JSON."""
    return path.lower().endswith(".json")

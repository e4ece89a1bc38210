"""Finding the root and its configuration files."""

import os
from collections.abc import Mapping
from typing import Final

from supervisor.config.trust import (
    Trust,
    check_believable,
    check_configuration,
    check_writable,
    is_believable,
    trust_of,
)
from supervisor.errors import ConfigError, NoCurrentDirectoryError, Problem, RootTooLongError
from workers.records.layout import Layout

CONFIG: Final = os.path.join("config", "supervisor.toml")
ORIGIN: Final = "codex.orchestrator.json"
PREFIX: Final = "SUPERVISOR_"  # of settings in the environment
# The kernel takes paths of 4,095 bytes (PATH_MAX). The longest below a root has less than 480: a
# temporary file in a run's directory, with a task and a stage of 100 characters each.
ROOT_LIMIT_BYTES: Final = 4_095 - 480
PATHS: Final = ("batch", "metrics_textfile")  # settings that name a file


def current_dir() -> str:
    """The current directory.

    Raises:
        NoCurrentDirectoryError: it was deleted, or cannot be reached.
    """
    try:
        return os.getcwd()
    except OSError as error:
        raise NoCurrentDirectoryError(reason=error.strerror) from None


def absolute(path: str) -> str:
    """An absolute path without ``..``.

    Raises:
        NoCurrentDirectoryError: the path is relative, and the current directory was deleted.
    """
    return os.path.normpath(path if os.path.isabs(path) else os.path.join(current_dir(), path))


def is_named(root: str | None, config: str | None, environ: Mapping[str, str]) -> bool:
    """Check whether the caller names the root; otherwise it is searched for."""
    return bool(root or environ.get("SUPERVISOR_ROOT") or config)


def find_root(
    *, root: str | None, config: str | None, environ: Mapping[str, str], trust: Trust
) -> Layout:
    """Find the root.

    Args:
        root: ``--root``.
        config: ``--config``; its folder's parent is the root if neither ``root`` nor
            SUPERVISOR_ROOT names one.
        environ: the environment.
        trust: whose records count in the search.

    Raises:
        NoCurrentDirectoryError: the current directory is needed and was deleted.
        RootTooLongError: there is no room below it for the paths of records.
    """
    path = _find(root or environ.get("SUPERVISOR_ROOT"), config, trust)
    length_bytes = len(os.fsencode(path))
    if length_bytes > ROOT_LIMIT_BYTES:
        raise RootTooLongError(root=path, bytes=length_bytes, limit=ROOT_LIMIT_BYTES)
    return Layout(path)


def _find(chosen: str | None, config: str | None, trust: Trust) -> str:
    if chosen:
        return os.path.realpath(absolute(chosen))
    if config:
        folder = os.path.dirname(os.path.realpath(absolute(config)))
        # The origin's JSON is in the root itself, our TOML in a folder below it.
        return folder if config.endswith(".json") else os.path.dirname(folder)
    return _upward(os.path.realpath(current_dir()), trust)


def _upward(cwd: str, trust: Trust) -> str:
    """The nearest directory upward with a configuration, or with records of a trusted user."""
    at = cwd
    while True:
        if os.path.isfile(os.path.join(at, CONFIG)):
            return at
        runs = os.path.join(at, ".runs")
        if os.path.isdir(runs) and is_believable(runs, trust):
            return at
        parent = os.path.dirname(at)
        if parent == at:
            return cwd
        at = parent


def project_file(root: str, config: str | None) -> str | None:
    """The project's configuration: ``--config``, else config/supervisor.toml if it exists."""
    if config is not None:
        return absolute(config)
    path = os.path.join(root, CONFIG)
    return path if os.path.lexists(path) else None


def user_file(environ: Mapping[str, str]) -> str | None:
    """The user's own configuration, None if there is none."""
    base = environ.get("XDG_CONFIG_HOME", "")
    if not os.path.isabs(base):  # as the XDG specification says of relative ones
        if "HOME" not in environ:
            return None
        base = os.path.join(environ["HOME"], ".config")
    path = os.path.join(base, "pipeline-supervisor", "supervisor.toml")
    return path if os.path.lexists(path) else None


def config_files(root: str, project: str | None, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Every file that settings and pipelines may come from, whether it exists or not.

    Args:
        root: the root.
        project: the project's file, None if there is none.
        environ: the environment, which names the user's file; empty to leave that out.
    """
    files = (project, os.path.join(root, ORIGIN), user_file(environ))
    return tuple(file for file in files if file is not None)


def is_json(path: str) -> bool:
    """Check by its name whether a file is JSON."""
    return path.lower().endswith(".json")


def layout_of(root: str | None, config: str | None, *, writes: bool) -> Layout:
    """Find the root that the options, the environment and the current directory name.

    Args:
        root: ``--root``.
        config: ``--config``.
        writes: the verb writes to the root or runs configured commands. False allows a root of
            another user that the caller names.

    Raises:
        ConfigError: ``--config`` does not name a file, or another user's configuration.
        ForeignRootError: the root belongs to another user.
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
    """Find the root, of any owner, and who is trusted; errors as ``layout_of``.

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

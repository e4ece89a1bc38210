"""Where the root is: the directory with ``.runs/`` and ``out/``. No dependency; readers need it."""

import os
from collections.abc import Mapping

from workers.records.layout import Layout

CONFIG: str = os.path.join("config", "supervisor.toml")


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

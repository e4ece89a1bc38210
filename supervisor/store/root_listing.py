"""List what a root holds: its tasks, its active runs, and the files of its inbox."""

import contextlib
import os

from workers.records.files import read_marker
from workers.records.ids import id_problem, is_run_id
from workers.records.layout import Layout
from workers.records.typed_errors import TypedError


def tasks(layout: Layout) -> list[str]:
    """The tasks that have runs or a history; OSError if the root may not be read."""
    found = {name for name in _names(layout.runs) if os.path.isdir(os.path.join(layout.runs, name))}
    found |= {name for name in _names(layout.out) if os.path.lexists(layout.history(name))}
    return sorted(found)


def active_ids(layout: Layout) -> dict[str, str]:
    """The accepted runs that are not yet in history and state: run id to task id.

    OSError if the root may not be read.
    """
    found = {}
    for name in sorted(_names(layout.accepted)):
        if is_run_id(name):
            with contextlib.suppress(OSError, TypedError):
                found[name] = read_marker(layout.marker(name))
    return {run_id: task_id for run_id, task_id in found.items() if id_problem(task_id) is None}


def rejected(layout: Layout) -> list[str]:
    """The files of the inbox that were set aside, relative to the root, oldest first."""
    try:
        names = os.listdir(layout.rejected)
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [layout.relative(os.path.join(layout.rejected, name)) for name in sorted(names)]


def waits(layout: Layout) -> bool:
    """Tell whether anything is in the inbox."""
    try:
        return bool(os.listdir(layout.inbox))
    except (FileNotFoundError, NotADirectoryError):
        return False


def _names(directory: str) -> list[str]:
    """The ids in a directory; none if there is no such directory, OSError if it may not be read."""
    try:
        return [name for name in os.listdir(directory) if id_problem(name) is None]
    except (FileNotFoundError, NotADirectoryError):
        return []

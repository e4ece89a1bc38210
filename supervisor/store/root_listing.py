"""Lists what a root contains: tasks, active runs, inbox files, and the newest run.

``newest.json`` contains the run that was accepted last and the number of acceptances so far. Run
ids begin with the wall time of the submitter, which may be set back; the number orders runs as they
were accepted. It is also in ``run_accepted``, by which a start sorts the runs that it adopts. The
file is a view: if a loss of power loses it, numbering continues after the unfinished runs, and
``latest`` goes by ids until a run is accepted.
"""

import contextlib
import os

from workers.records.dataclass import dataclass
from workers.records.files import read_marker, read_object
from workers.records.ids import id_problem, is_run_id
from workers.records.json_reader import JsonReader
from workers.records.layout import Layout
from workers.records.typed_errors import TypedError


def tasks(layout: Layout) -> list[str]:
    """The tasks that have runs or a history; raises OSError if the root cannot be read."""
    found = {name for name in _names(layout.runs) if os.path.isdir(os.path.join(layout.runs, name))}
    found |= {name for name in _names(layout.out) if os.path.lexists(layout.history(name))}
    return sorted(found)


def active_ids(layout: Layout) -> dict[str, str]:
    """The accepted runs that are not yet in history and state: run id to task id.

    Raises:
        OSError: the root cannot be read.
    """
    active = {}
    for name in sorted(_names(layout.accepted)):
        if is_run_id(name):
            with contextlib.suppress(OSError, TypedError):
                active[name] = read_marker(layout.marker(name))
    return {run_id: task_id for run_id, task_id in active.items() if id_problem(task_id) is None}


def rejected(layout: Layout) -> list[str]:
    """The rejected files of the inbox, relative to the root, oldest first."""
    try:
        names = os.listdir(layout.rejected)
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [layout.relative(os.path.join(layout.rejected, name)) for name in sorted(names)]


def waits(layout: Layout) -> bool:
    """Whether anything is in the inbox."""
    try:
        return bool(os.listdir(layout.inbox))
    except (FileNotFoundError, NotADirectoryError):
        return False


def _names(directory: str) -> list[str]:
    """The ids in a directory, none if it is missing; raises OSError if it cannot be read."""
    try:
        return [name for name in os.listdir(directory) if id_problem(name) is None]
    except (FileNotFoundError, NotADirectoryError):
        return []


@dataclass(frozen=True, slots=True, kw_only=True)
class NewestRun:
    """The run without a parent that was accepted last; ``number`` counts child runs, too."""

    run_id: str
    task_id: str
    number: int


def load_newest(layout: Layout) -> NewestRun | None:
    """Read ``newest.json``; None if it is missing or damaged."""
    with contextlib.suppress(OSError, TypedError):
        read = JsonReader(read_object(layout.newest), layout.newest)
        newest = NewestRun(
            run_id=read.text("run_id"), task_id=read.text("task_id"), number=read.integer("number")
        )
        if is_run_id(newest.run_id) and id_problem(newest.task_id) is None:
            return newest
    return None

"""Which run is meant: a run id, a unique prefix of one, its last 8 digits, or ``latest``."""

import contextlib
import os
from typing import Any

from supervisor.errors import AmbiguousRunError, RunRemovedError, UnknownRunError
from supervisor.report.read.run_records import pending_specs
from supervisor.store.newest_run import load_newest
from supervisor.store.root_listing import active_ids, tasks
from workers.records.history import read_lines
from workers.records.ids import is_run_id
from workers.records.layout import Layout
from workers.records.read_spec import load_spec
from workers.records.typed_errors import TypedError

CANDIDATES_SHOWN: int = 10


def find_run(layout: Layout, name: str) -> tuple[str, str]:
    """Find one run.

    Args:
        layout: the root.
        name: what the operator typed.

    Returns:
        Task id and run id.

    Raises:
        UnknownRunError: nothing is called so.
        RunRemovedError: the history has it, but its directory is no more.
        AmbiguousRunError: several are; they are listed.
        OSError: nothing that can be read is called so, and a directory cannot be read.
    """
    known, unread = _known(layout)
    if name == "latest":
        return _latest(layout, known)
    if name in known:
        return known[name], name
    found = [r for r in known if name and (r.startswith(name) or r.endswith(f"-{name}"))]
    if not found:
        if unread is not None:
            raise unread
        raise _removed(layout, name)
    if len(found) > 1:
        raise _ambiguous(name, {run_id: known[run_id] for run_id in found})
    return known[found[0]], found[0]


def _ambiguous(name: str, tasks_of: dict[str, str]) -> AmbiguousRunError:
    newest = sorted(tasks_of, reverse=True)
    shown = [f"  {run_id}  {tasks_of[run_id]}" for run_id in newest[:CANDIDATES_SHOWN]]
    if len(newest) > CANDIDATES_SHOWN:
        shown.append(f"  and {len(newest) - CANDIDATES_SHOWN} more")
    return AmbiguousRunError(run=name, candidates="\n".join(shown))


def _removed(layout: Layout, name: str) -> TypedError:
    """What to say of a run that has no directory: the histories still know it, or nobody does."""
    lines: dict[str, dict[str, Any]] = {}
    for task_id in tasks(layout) if name else ():
        with contextlib.suppress(OSError, TypedError):
            for _, line in read_lines(layout.history(task_id)):
                run_id = str(line.get("runId"))
                if run_id.startswith(name) or run_id.endswith(f"-{name}"):
                    lines[run_id] = {**line, "taskId": task_id}
    if name in lines:
        lines = {name: lines[name]}
    if not lines:
        return UnknownRunError(run=name)
    if len(lines) > 1:
        return _ambiguous(name, {run_id: line["taskId"] for run_id, line in lines.items()})
    ((run_id, line),) = lines.items()
    return RunRemovedError(
        run=run_id,
        task=line["taskId"],
        status=line.get("status"),
        ended=line.get("timestamp"),
        line=line,
    )


def _known(layout: Layout) -> tuple[dict[str, str], OSError | None]:
    """Every run and its task, and why one of the directories could not be read."""
    known = active_ids(layout)  # also one whose directory was just removed: it gets its verdict
    unread = None
    for task_id in tasks(layout):
        try:
            for run_id in os.listdir(layout.runs_of(task_id)):
                if is_run_id(run_id):
                    known[run_id] = task_id
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:  # runs of other tasks are found all the same
            unread = error
    for spec in pending_specs(layout):
        known[spec.run_id] = spec.task_id
    return known, unread


def _latest(layout: Layout, known: dict[str, str]) -> tuple[str, str]:
    """The run that was accepted last, of those that no stage asked for.

    Ids begin with a time, and clocks are set back: so the order of acceptance is what is on disk.
    What waits in the inbox comes after all that was accepted; of that, ``newest.json`` names the
    last. Only if it names none that is there, the ids decide.
    """
    asked = [spec for spec in pending_specs(layout) if spec.parent_run_id is None]
    if asked:
        return asked[-1].task_id, asked[-1].run_id
    newest = load_newest(layout)
    if newest is not None and known.get(newest.run_id) == newest.task_id:
        return newest.task_id, newest.run_id
    for run_id in sorted(known, reverse=True):
        task_id = known[run_id]
        with contextlib.suppress(OSError, TypedError):
            if load_spec(layout.run_dir(task_id, run_id).spec).parent_run_id is not None:
                continue
        return task_id, run_id
    raise UnknownRunError(run="latest")

"""Which run is meant: a run id, a unique prefix of one, its last 8 digits, or ``latest``."""

import contextlib
import os
from typing import Any

from supervisor.errors import AmbiguousRunError, RunRemovedError, UnknownRunError
from supervisor.report.records import requested
from supervisor.report.rows import active_ids, tasks
from workers.records.errors import TypedError
from workers.records.history import read_lines
from workers.records.ids import is_run_id
from workers.records.layout import Layout
from workers.records.read_spec import load_spec

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
    """
    known = _known(layout)
    if name == "latest":
        return _latest(layout, known)
    if name in known:
        return known[name], name
    found = [r for r in known if name and (r.startswith(name) or r.endswith(f"-{name}"))]
    if not found:
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


def _known(layout: Layout) -> dict[str, str]:
    known = active_ids(layout)  # also one whose directory was just removed: it gets its verdict
    for task_id in tasks(layout):
        with contextlib.suppress(OSError):
            for run_id in os.listdir(layout.runs_of(task_id)):
                if is_run_id(run_id):
                    known[run_id] = task_id
    for spec in requested(layout):
        known[spec.run_id] = spec.task_id
    return known


def _latest(layout: Layout, known: dict[str, str]) -> tuple[str, str]:
    """The newest run that nobody's stage asked for."""
    for run_id in sorted(known, reverse=True):
        task_id = known[run_id]
        with contextlib.suppress(OSError, TypedError):
            if load_spec(layout.run_dir(task_id, run_id).spec).parent_run_id is not None:
                continue
        return task_id, run_id
    raise UnknownRunError(run="latest")

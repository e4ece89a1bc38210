"""Which run is meant: a run id, a unique prefix of one, its last 8 digits, or ``latest``."""

import contextlib
import os

from supervisor.errors import AmbiguousRunError, RunRemovedError, UnknownRunError
from supervisor.report.records import active_ids, requested, tasks
from workers.records.errors import TypedError
from workers.records.history import read_lines
from workers.records.ids import is_run_id
from workers.records.layout import Layout
from workers.records.spec import load_spec

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
        RunRemovedError: one that has ended is, and its directory was removed.
        AmbiguousRunError: several are; they are listed.
    """
    known = _known(layout)
    if name == "latest":
        return _latest(layout, known)
    if name in known:
        return known[name], name
    found = [r for r in known if name and (r.startswith(name) or r.endswith(f"-{name}"))]
    if not found:
        raise _removed(layout, name) or UnknownRunError(run=name)
    if len(found) > 1:
        newest = sorted(found, reverse=True)
        shown = [f"  {run_id}  {known[run_id]}" for run_id in newest[:CANDIDATES_SHOWN]]
        if len(newest) > CANDIDATES_SHOWN:
            shown.append(f"  and {len(newest) - CANDIDATES_SHOWN} more")
        raise AmbiguousRunError(run=name, candidates="\n".join(shown))
    return known[found[0]], found[0]


def _removed(layout: Layout, name: str) -> RunRemovedError | None:
    """The newest run of that name that only a history knows."""
    found = None
    for task_id in tasks(layout) if name else ():
        with contextlib.suppress(OSError, TypedError):
            for _, line in read_lines(layout.history(task_id)):
                run_id = str(line.get("runId"))
                if run_id.startswith(name) or run_id.endswith(f"-{name}"):
                    found = RunRemovedError(
                        run_id=run_id, task_id=task_id, status=line.get("status"), line=line
                    )
    return found


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

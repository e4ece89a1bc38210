"""Find runs: the one that an operator names, and the newest retry of a dependency."""

import contextlib
import os
from typing import Any, Final

from supervisor.errors import AmbiguousRunError, RunRemovedError, UnknownRunError, UsageError
from supervisor.report.read.run_records import manifest_now, pending_specs
from supervisor.store.root_listing import active_ids, load_newest, tasks
from workers.records.files import read_bytes
from workers.records.history import lines_of_runs, read_lines
from workers.records.ids import is_run_id
from workers.records.layout import Layout
from workers.records.manifest import FINAL, Status
from workers.records.spec import AfterSpec, RunSpec, load_spec
from workers.records.typed_errors import TypedError

CANDIDATES_SHOWN: Final = 10


def find_run(layout: Layout, name: str) -> tuple[str, str]:
    """Find a run by its id, a unique prefix of it, its last 8 digits, or ``latest``.

    Returns:
        Task id and run id.

    Raises:
        UnknownRunError: no run matches.
        RunRemovedError: the history has the run, but its directory was removed.
        AmbiguousRunError: several runs match; it lists them.
        OSError: no run that can be read matches, and a directory cannot be read.
    """
    known, error = _known_runs(layout)
    if name == "latest":
        return _latest(layout, known)
    if name in known:
        return known[name], name
    matches = {run_id: known[run_id] for run_id in known if name and _matches(run_id, name)}
    if not matches:
        raise error or _removed(layout, name)
    if len(matches) > 1:
        raise _ambiguous(name, matches)
    ((run_id, task_id),) = matches.items()
    return task_id, run_id


def _matches(run_id: str, name: str) -> bool:
    return run_id.startswith(name) or run_id.endswith(f"-{name}")


def _ambiguous(name: str, matches: dict[str, str]) -> AmbiguousRunError:
    newest = sorted(matches, reverse=True)
    shown = [f"  {run_id}  {matches[run_id]}" for run_id in newest[:CANDIDATES_SHOWN]]
    if len(newest) > CANDIDATES_SHOWN:
        shown.append(f"  and {len(newest) - CANDIDATES_SHOWN} more")
    return AmbiguousRunError(run=name, candidates="\n".join(shown))


def _removed(layout: Layout, name: str) -> TypedError:
    """The error for a run without a directory: the histories may still have it."""
    lines: dict[str, dict[str, Any]] = {}
    for task_id in tasks(layout) if name else ():
        with contextlib.suppress(OSError, TypedError):
            for _, line in read_lines(layout.history(task_id)):
                run_id = str(line.get("runId"))
                if _matches(run_id, name):
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


def _known_runs(layout: Layout) -> tuple[dict[str, str], OSError | None]:
    """Every run and its task, and an error if a directory cannot be read."""
    known = active_ids(layout)  # also a run whose directory was just deleted: it gets a verdict
    problem = None
    for task_id in tasks(layout):
        try:
            for run_id in os.listdir(layout.runs_of(task_id)):
                if is_run_id(run_id):
                    known[run_id] = task_id
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:  # runs of other tasks are still found
            problem = error
    for spec in pending_specs(layout):
        known[spec.run_id] = spec.task_id
    return known, problem


def _latest(layout: Layout, known: dict[str, str]) -> tuple[str, str]:
    """The run that was accepted last, child runs excluded.

    Ids begin with a wall time, which may be set back, so the recorded order of acceptance counts:
    first the inbox, then ``newest.json``. Ids decide only if neither names an existing run.
    """
    pending = [spec for spec in pending_specs(layout) if spec.parent_run_id is None]
    if pending:
        return pending[-1].task_id, pending[-1].run_id
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


def dependencies_for_retry(layout: Layout, old: RunSpec) -> tuple[AfterSpec, ...]:
    """The dependencies of a retry of ``old``.

    Each dependency is replaced by its newest retry that has succeeded or still may; if there is
    none, the dependency itself counts.

    Raises:
        UsageError: a dependency and its retries have failed, so the retry could never start.
        OSError: the runs of a task cannot be read.
    """
    return tuple(_newest_retry(layout, old.run_id, dependency) for dependency in old.after)


def _newest_retry(layout: Layout, run_id: str, dependency: AfterSpec) -> AfterSpec:
    task_id, family = dependency.task_id, [dependency.run_id]
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        for name in sorted(os.listdir(layout.runs_of(task_id))):
            is_later = is_run_id(name) and name > dependency.run_id
            if is_later and _is_retry(layout.run_dir(task_id, name).spec, family):
                family.append(name)
    family += [
        spec.run_id
        for spec in pending_specs(layout)
        if spec.retry_of in family and spec.run_id not in family
    ]
    for name in reversed(family):
        status = _status(layout, task_id, name)
        if status == Status.SUCCEEDED or status not in FINAL:
            return AfterSpec(run_id=name, task_id=task_id)
    raise UsageError(
        reason=f"{run_id} depends on {dependency.run_id}, which did not succeed: run "
        f"'supervisor retry {family[-1]}' first; the new run then depends on that retry"
    )


def _is_retry(path: str, family: list[str]) -> bool:
    """Check whether a spec is of a retry of one of these runs."""
    with contextlib.suppress(OSError, TypedError):
        data = read_bytes(path)  # most specs name none of them and need not be parsed
        return any(run.encode() in data for run in family) and load_spec(path).retry_of in family
    return False


def _status(layout: Layout, task_id: str, run_id: str) -> str:
    try:
        return str(manifest_now(layout, task_id, run_id)["status"])
    except FileNotFoundError:  # removed by retention
        line = lines_of_runs(layout.history(task_id), [run_id]).get(run_id)
        return str(Status.FAILED) if line is None else str(line.get("status"))

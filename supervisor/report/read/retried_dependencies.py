"""Which runs a retried run follows: the retries of those that the original followed."""

import contextlib
import os
from collections.abc import Iterator

from supervisor.errors import UsageError
from supervisor.report.read.run_records import manifest_now, pending_specs
from workers.records.files import read_bytes
from workers.records.history import lines_of_runs
from workers.records.ids import is_run_id
from workers.records.layout import Layout
from workers.records.manifest import FINAL, Status
from workers.records.read_spec import load_spec
from workers.records.spec import AfterSpec, RunSpec
from workers.records.typed_errors import TypedError


def dependencies_for_retry(layout: Layout, old: RunSpec) -> tuple[AfterSpec, ...]:
    """The runs that a retry of ``old`` has to wait for.

    Each dependency is replaced by its newest retry that has succeeded or may still do so; if it has
    none, the dependency itself counts.

    Args:
        layout: the root.
        old: the run that is retried.

    Raises:
        UsageError: a dependency has failed and so have its retries: nothing could start.
        OSError: the runs of a task cannot be read.
    """
    return tuple(_followed(layout, old.run_id, leader) for leader in old.after)


def _followed(layout: Layout, run_id: str, leader: AfterSpec) -> AfterSpec:
    family = [leader.run_id]
    for name in _later(layout, leader):
        spec = _retry_in(layout, leader.task_id, name, family)
        if spec is not None:
            family.append(spec.run_id)
    family += [
        spec.run_id
        for spec in pending_specs(layout)
        if spec.retry_of in family and spec.run_id not in family
    ]
    for name in reversed(family):
        status = _status(layout, leader.task_id, name)
        if status == Status.SUCCEEDED or status not in FINAL:
            return AfterSpec(run_id=name, task_id=leader.task_id)
    raise UsageError(
        reason=f"{run_id} depends on {leader.run_id}, which did not succeed: run "
        f"'supervisor retry {family[-1]}' first; the new run then depends on that retry"
    )


def _later(layout: Layout, leader: AfterSpec) -> Iterator[str]:
    """The runs of a task that were asked for after a run, as their ids say."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        names = sorted(os.listdir(layout.runs_of(leader.task_id)))
        yield from (name for name in names if is_run_id(name) and name > leader.run_id)


def _retry_in(layout: Layout, task_id: str, name: str, family: list[str]) -> RunSpec | None:
    """The spec of a run if it retries one of a family."""
    path = layout.run_dir(task_id, name).spec
    with contextlib.suppress(OSError, TypedError):
        data = read_bytes(path)  # most name none of them, and need not be understood
        if any(member.encode() in data for member in family):
            spec = load_spec(path)
            return spec if spec.retry_of in family else None
    return None


def _status(layout: Layout, task_id: str, run_id: str) -> str:
    try:
        return str(manifest_now(layout, task_id, run_id)["status"])
    except FileNotFoundError:  # removed by retention: its history tells
        line = lines_of_runs(layout.history(task_id), [run_id]).get(run_id)
        return str(Status.FAILED) if line is None else str(line.get("status"))

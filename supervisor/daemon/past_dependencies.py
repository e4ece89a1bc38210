"""What a run follows, where the fleet does not know it any more: its records tell how it ended."""

from supervisor.core import stimuli
from supervisor.daemon.context import DaemonContext
from workers.records.files import is_dir
from workers.records.history import read_lines
from workers.records.journal import read_journal, verdict_in
from workers.records.request import pending_requests
from workers.records.spec import AfterSpec, RunSpec
from workers.records.typed_errors import TypedError

MISSING = "missing"
"""The status of a run of which there is nothing: its directory and its history are gone."""


def accepted(context: DaemonContext, spec: RunSpec) -> stimuli.Accepted:
    """A run that is on disk, as the core is told of it."""
    ended = ((leader.run_id, _status(context, leader)) for leader in spec.after)
    return stimuli.Accepted(
        run_id=spec.run_id,
        task_id=spec.task_id,
        parent_run_id=spec.parent_run_id,
        waited_for=spec.asked_by == "run",
        nested_in=spec.nested_in,
        priority=spec.priority,
        group=spec.group,
        dependencies=tuple(leader.run_id for leader in spec.after),
        dependency_statuses=tuple((r, status) for r, status in ended if status is not None),
    )


def _status(context: DaemonContext, leader: AfterSpec) -> str | None:
    """How a run ended; None where it has not, where the fleet tells, or nobody can say by now."""
    if leader.run_id in context.runs:
        return None
    run = context.layout.run_dir(leader.task_id, leader.run_id)
    try:
        if is_dir(run.path):
            verdict = verdict_in(read_journal(run.journal))
            return None if verdict is None else str(verdict.data.get("status"))
        for _, line in read_lines(context.layout.history(leader.task_id)):
            if line.get("runId") == leader.run_id:
                return str(line.get("status"))
    except (OSError, TypedError) as error:  # it is tried again by the next start
        context.log.write("leader_unreadable", run_id=leader.run_id, why=str(error))
        return None
    asked = (spec.run_id for request in pending_requests(context.layout) for spec in request.runs)
    return None if leader.run_id in asked else MISSING

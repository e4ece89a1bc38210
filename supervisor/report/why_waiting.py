"""Why a queued run does not start, as the supervisor's own view of its fleet tells."""

from typing import Any

from supervisor.edge.flock import is_flocked
from supervisor.report.control import holds_now
from workers.records.errors import TypedError
from workers.records.files import read_object
from workers.records.layout import Layout
from workers.records.spec import RunSpec


def why_waiting(layout: Layout, spec: RunSpec) -> str | None:
    """Say why a run that was submitted does not start.

    Args:
        layout: the root.
        spec: the run.

    Returns:
        A reason and what to do about it; None if nothing can be found.
    """
    if spec.after:
        names = ", ".join(item.run_id for item in spec.after)
        return f"it starts when {names} has succeeded (--after)"
    try:
        if holds_now(layout).hold(spec.group):
            return "new runs are paused; 'supervisor resume' lifts that"
        if not is_flocked(layout.lease_lock):
            return "no supervisor serves the root yet"
        view = read_object(layout.status)
    except (OSError, TypedError):
        return None
    return _no_room(view, spec)


def _no_room(view: dict[str, Any], spec: RunSpec) -> str | None:
    groups = view.get("groups")
    group = groups.get(spec.group) if isinstance(groups, dict) else None
    if isinstance(group, dict):
        taken, limit = group.get("running"), group.get("limit")
        if isinstance(taken, int) and isinstance(limit, int) and taken >= limit:
            return f"group {spec.group} is full ({taken} of {limit} places are taken)"
    runs, limit = view.get("runs"), view.get("max_runs")
    if isinstance(runs, list) and isinstance(limit, int) and len(runs) >= limit:
        nested = ""
        if spec.nested_in is not None:
            nested = f"; {spec.nested_in} lends its place to one nested run at a time"
        return f"all places are taken (max_runs = {limit}){nested}"
    return None

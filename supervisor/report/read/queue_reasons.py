"""Why a queued run does not start, for readers."""

import contextlib
from collections.abc import Mapping
from typing import Any

from supervisor.launchers.placement_record import ClaimState, load_placement
from supervisor.report.read.queue_controls import current_pauses
from supervisor.report.read.run_rows import placed_note, service_status
from workers.records.flock import is_flocked
from workers.records.layout import Layout
from workers.records.typed_errors import TypedError


def queue_reason(layout: Layout, manifest: Mapping[str, Any]) -> str | None:
    """Return what a queued run waits for; None if nothing that a reader can see holds it up.

    Args:
        layout: the root.
        manifest: the run's record as it is now.
    """
    extensions = manifest.get("extensions") or {}
    group, after = extensions.get("group"), extensions.get("after")
    if not is_flocked(layout.lease_lock):
        return "no supervisor is up; 'supervisor start' starts it"
    with contextlib.suppress(OSError, TypedError):
        run = layout.run_dir(str(manifest["task_id"]), str(manifest["run_id"]))
        placement = load_placement(run)
        if placement is not None and placement.stand is ClaimState.UNCLAIMED:
            return placed_note(placement.launcher)
    if isinstance(after, list) and after:
        return f"it starts after {', '.join(map(str, after))}"
    with contextlib.suppress(OSError, TypedError):
        pauses = current_pauses(layout)
        if pauses.is_paused(group):
            what = f"group {group} is" if pauses.since is None else "all runs are"
            return f"{what} paused; 'supervisor resume' lifts it"
    return _room(service_status(layout), group)


def _room(service: Mapping[str, Any], group: object) -> str | None:
    """What the supervisor's own view tells: whom it starts, and where there is no room."""
    if service.get("mode") in ("draining", "stopping"):
        return f"the supervisor is {service['mode']}; the next one starts it"
    groups = service.get("groups")
    about = groups.get(group) if isinstance(groups, dict) and isinstance(group, str) else None
    if isinstance(about, dict) and _is_full(about.get("running"), about.get("limit")):
        return f"group {group} is full ({about['running']} of {about['limit']} running)"
    running = service.get("running_count")
    if _is_full(running, service.get("max_runs")):
        return f"all places are taken ({running} of max_runs = {service['max_runs']})"
    return None


def _is_full(running: object, limit: object) -> bool:
    return isinstance(running, int) and isinstance(limit, int) and running >= limit

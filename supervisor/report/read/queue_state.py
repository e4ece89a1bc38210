"""What keeps queued runs from starting, for readers: pauses, full groups, limits, dependencies."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, Final

from supervisor.core.pauses import Pauses
from supervisor.launchers.placement_record import ClaimState, load_placement
from supervisor.report.read.run_records import current_pauses
from supervisor.report.read.run_rows import placed_note, service_status
from workers.records.flock import is_flocked
from workers.records.layout import Layout
from workers.records.typed_errors import TypedError

SHOWN_COUNT: Final = 5  # names in one line


def queue_lines(pauses: Pauses, service: dict[str, Any], quarantined: list[str]) -> Iterator[str]:
    """The lines of ``status`` about the queue.

    Args:
        pauses: what is paused.
        service: status.json; empty if no supervisor serves the root.
        quarantined: the quarantined requests.
    """
    if pauses.since is not None:
        yield f"paused since {pauses.since}; 'supervisor resume' lifts it"
    running, limit = service.get("running_count"), service.get("max_runs")
    if service.get("queued_count") and _is_full(running, limit):
        yield f"max_runs is reached: {running} of {limit} running, {service['queued_count']} queued"
    groups = service.get("groups")
    groups = groups if isinstance(groups, dict) else {}
    since = dict(pauses.groups)
    for name in sorted({*groups, *since}):
        group, parts = groups.get(name), []
        if isinstance(group, dict):
            limit = group.get("limit")
            of = "" if limit is None else f" of {limit}"
            parts.append(f"{group.get('running')}{of} running, {group.get('queued')} queued")
        if name in since:
            parts.append(f"paused since {since[name]}")
        yield f"group {name}: {'; '.join(parts)}"
    yield from quarantine_lines(quarantined)


def quarantine_lines(paths: list[str]) -> Iterator[str]:
    """A line that counts the quarantined requests and names the newest; none if there are none."""
    if paths:
        names = ", ".join(paths[-SHOWN_COUNT:])
        more = f" and {len(paths) - SHOWN_COUNT} more" if len(paths) > SHOWN_COUNT else ""
        noun = "request" if len(paths) == 1 else "requests"
        yield f"{len(paths)} {noun} quarantined ({names}{more}); supervisor.log has the reasons"


def queue_reason(layout: Layout, manifest: Mapping[str, Any]) -> str | None:
    """The reason why a run with this manifest is queued; None if readers cannot see one."""
    extensions = manifest.get("extensions") or {}
    group, after = extensions.get("group"), extensions.get("after")
    if not is_flocked(layout.lease_lock):
        return "no supervisor is running; 'supervisor start' starts one"
    with contextlib.suppress(OSError, TypedError):
        run = layout.run_dir(str(manifest["task_id"]), str(manifest["run_id"]))
        placement = load_placement(run)
        if placement is not None and placement.state is ClaimState.UNCLAIMED:
            return placed_note(placement.launcher)
    if isinstance(after, list) and after:
        return f"waiting for {', '.join(map(str, after))} to succeed"
    with contextlib.suppress(OSError, TypedError):
        pauses = current_pauses(layout)
        if pauses.is_paused(group):
            what = f"group {group} is" if pauses.since is None else "all runs are"
            return f"{what} paused; 'supervisor resume' lifts it"
    service = service_status(layout)
    if service.get("mode") in ("draining", "stopping"):
        return f"the supervisor is {service['mode']}; the next one starts it"
    groups = service.get("groups")
    counts = groups.get(group) if isinstance(groups, dict) and isinstance(group, str) else None
    if isinstance(counts, dict) and _is_full(counts.get("running"), counts.get("limit")):
        return f"group {group} is full ({counts['running']} of {counts['limit']} running)"
    running, limit = service.get("running_count"), service.get("max_runs")
    return (
        f"max_runs is reached ({running} of {limit} running)" if _is_full(running, limit) else None
    )


def _is_full(running: object, limit: object) -> bool:
    return isinstance(running, int) and isinstance(limit, int) and running >= limit

"""What holds runs back, for readers: pauses, groups that are full, requests that were set aside."""

from collections.abc import Iterator
from typing import Any, Final

from supervisor.core.pauses import Pauses
from supervisor.store.pause_file import pauses_in_force
from workers.records.layout import Layout
from workers.records.request import RequestKind, now_text, pending_requests

SHOWN_COUNT: Final = 5


def current_pauses(layout: Layout) -> Pauses:
    """What is paused, pending requests included; everything if the file is damaged.

    Raises:
        NewerRecordError, OSError: the file of the pauses cannot be read.
    """
    pauses, _ = pauses_in_force(layout)
    for request in pending_requests(layout):
        if request.kind is RequestKind.PAUSE:
            pauses = pauses.paused(request.group, at=request.at or now_text())
        elif request.kind is RequestKind.RESUME:
            pauses = pauses.resumed(request.group)
    return pauses


def queue_lines(pauses: Pauses, service: dict[str, Any], aside: list[str]) -> Iterator[str]:
    """The lines that ``status`` prints of all that.

    Args:
        pauses: what is paused.
        service: the living supervisor's view, empty where none is up.
        aside: files that were set aside.
    """
    if pauses.since is not None:
        yield f"paused since {pauses.since}; 'supervisor resume' lifts it"
    running, limit, queued = (
        service.get(name) for name in ("running_count", "max_runs", "queued_count")
    )
    if isinstance(running, int) and isinstance(limit, int) and queued and running >= limit:
        yield f"all places are taken: {running} of max_runs = {limit} running, {queued} queued"
    groups = service.get("groups")
    groups = groups if isinstance(groups, dict) else {}
    since = dict(pauses.groups)
    for name in sorted({*groups, *since}):
        about = groups.get(name)
        words = []
        if isinstance(about, dict):
            limit = about.get("limit")
            of = "" if limit is None else f" of {limit}"
            words.append(f"{about.get('running')}{of} running, {about.get('queued')} queued")
        if name in since:
            words.append(f"paused since {since[name]}")
        yield f"group {name}: {'; '.join(words)}"
    yield from quarantine_lines(aside)


def quarantine_lines(aside: list[str]) -> Iterator[str]:
    """The line that names the files that were set aside, the newest of them; none without any."""
    if aside:
        shown = ", ".join(aside[-SHOWN_COUNT:])
        more = f" and {len(aside) - SHOWN_COUNT} more" if len(aside) > SHOWN_COUNT else ""
        word = "request was" if len(aside) == 1 else "requests were"
        yield f"{len(aside)} {word} set aside ({shown}{more}); supervisor.log says why"

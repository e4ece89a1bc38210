"""A root at a glance, as ``status`` shows it: its supervisor, what is held back, its runs.

What is not needed is not imported: where nothing is under way no record of a run is read at all.
"""

import os
from typing import Any, Final

from supervisor.report.read.run_rows import Row, newest_rows, service_status
from supervisor.report.text.output import print_error
from supervisor.store.lease_reader import serving_supervisor
from supervisor.store.root_listing import active_ids, rejected, waits
from workers.records.layout import Layout
from workers.records.typed_errors import TypedError

NEWEST_COUNT: Final = 20  # a screenful


def recent_rows(layout: Layout) -> tuple[list[Row], list[str]]:
    """The newest finished runs and the active ones, oldest first; and what cannot be read."""
    active: list[Row] = []
    if waits(layout) or active_ids(layout):
        from supervisor.report.read.run_records import active_rows

        active = active_rows(layout)
    known = {row.run_id for row in active}
    newest, unread = newest_rows(layout, NEWEST_COUNT)
    return [*(row for row in newest if row.run_id not in known), *active], unread


def pauses_json(layout: Layout) -> dict[str, Any]:
    """What is paused; a file of pauses that cannot be read is reported on stderr."""
    if waits(layout) or os.path.lexists(layout.paused):
        from supervisor.report.read.queue_controls import current_pauses
        from supervisor.store.pause_file import damage_note, pauses_in_force

        try:
            pauses = current_pauses(layout)
            _, damage = pauses_in_force(layout)
            if damage is not None and pauses.since is not None:
                print_error(damage_note(damage))
            return pauses.to_json()
        except (OSError, TypedError) as error:
            print_error(f"what is paused cannot be read: {error}")
    return {"since": None, "groups": {}}


def status_json(layout: Layout, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """What ``status --json`` prints.

    Args:
        layout: the root.
        runs: the runs, as JSON.
    """
    holder = serving_supervisor(layout)
    service = service_status(layout) if holder is not None else {}
    return {
        "root": layout.root,
        "supervisor": None if holder is None else holder.to_json(),
        "mode": service.get("mode"),
        "watch": service.get("watch"),
        "durability": service.get("durability"),
        "paused": pauses_json(layout),
        "groups": service.get("groups"),
        "rejected": rejected(layout),
        "runs": runs,
    }

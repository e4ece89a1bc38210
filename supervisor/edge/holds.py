"""paused.json: what the operator has paused, kept over restarts. Written by the supervisor alone.

``{"schema": "pipeline-supervisor/paused/1", "since": instant or null, "groups": {name: instant}}``.
Where it is damaged everything is paused: what somebody paused must not start for want of a file.
"""

from typing import Final

from supervisor.core.holds import Holds
from supervisor.edge.aside import Aside
from workers.records.atomic import replace_file, to_bytes
from workers.records.errors import NewerRecordError, TypedError
from workers.records.fields import Fields, check_schema
from workers.records.files import read_object
from workers.records.layout import Layout
from workers.records.request import now_text

SCHEMA: Final = "pipeline-supervisor/paused/1"


def load_holds(layout: Layout) -> Holds:
    """Read the pauses; none where there is no file.

    Raises:
        BadRecordError, BadFileError: it is damaged, or none of ours.
        NewerRecordError: a later version wrote it.
        OSError: it may not be read.
    """
    try:
        data = read_object(layout.paused)
    except FileNotFoundError:
        return Holds()
    check_schema(data, SCHEMA, layout.paused)
    return Holds.from_fields(Fields(data, layout.paused))


class HoldsFile:
    """The pauses, in memory and on disk.

    Args:
        layout: the root.
        aside: makes room where something else stands in the file's place.

    Attributes:
        now: those in force.
        told: what the operator should know of the file, None where it is in order.

    Raises:
        NewerRecordError: a later version wrote the file.
        OSError: it may not be read, or that everything is paused cannot be written.
    """

    def __init__(self, layout: Layout, aside: Aside) -> None:
        self._layout = layout
        self.told: str | None = None
        try:
            self.now = load_holds(layout)
        except NewerRecordError:
            raise
        except TypedError as error:
            aside.make_room(layout.paused)
            self.store(Holds(since=now_text()))
            self.told = (
                f"what is paused cannot be read ({error}), so everything is; "
                "'supervisor resume' lifts it"
            )

    def store(self, holds: Holds) -> None:
        """Put the pauses on disk; OSError where it refuses, and those before stand."""
        replace_file(self._layout.paused, to_bytes({"schema": SCHEMA, **holds.to_json()}))
        self.now = holds

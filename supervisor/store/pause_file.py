"""paused.json: what the operator has paused, kept over restarts. Written by the supervisor alone.

``{"schema": "pipeline-supervisor/paused/1", "since": instant or null, "groups": {name: instant}}``.
If it is damaged, everything is paused, for every reader: what somebody paused must not start for
want of a file. ``resume`` lifts that like any other pause.
"""

import contextlib
import os
from typing import Final

from supervisor.core.pauses import Pauses
from supervisor.store.quarantine import Quarantine
from workers.records.atomic import replace_file, to_bytes
from workers.records.clock import utc_text
from workers.records.files import read_object
from workers.records.json_reader import JsonReader, check_schema
from workers.records.layout import Layout
from workers.records.request import now_text
from workers.records.typed_errors import NewerRecordError, TypedError

SCHEMA: Final = "pipeline-supervisor/paused/1"


def load_pauses(layout: Layout) -> Pauses:
    """Read the pauses; none where there is no file.

    Raises:
        BadRecordError, BadFileError: it is damaged, or none of ours.
        NewerRecordError: a later version wrote it.
        OSError: it may not be read.
    """
    try:
        data = read_object(layout.paused)
    except FileNotFoundError:
        return Pauses()
    check_schema(data, SCHEMA, layout.paused)
    return Pauses.from_fields(JsonReader(data, layout.paused))


def pauses_in_force(layout: Layout) -> tuple[Pauses, TypedError | None]:
    """The pauses that count, and why the file cannot be read, None if it can.

    Raises:
        NewerRecordError: a later version wrote it.
        OSError: it may not be read.
    """
    try:
        return load_pauses(layout), None
    except NewerRecordError:
        raise
    except TypedError as error:
        since = now_text()
        with contextlib.suppress(OSError):
            since = utc_text(os.lstat(layout.paused).st_mtime)
        return Pauses(since=since), error


class PauseFile:
    """The pauses, in memory and on disk.

    Args:
        layout: the root.
        quarantine: makes room where something else stands in the file's place.

    Attributes:
        pauses: those in force.
        warning: what the operator should know of the file, None where it is in order.

    Raises:
        NewerRecordError: a later version wrote the file.
        OSError: it may not be read, or that everything is paused cannot be written.
    """

    def __init__(self, layout: Layout, quarantine: Quarantine) -> None:
        self._layout = layout
        self._quarantine = quarantine
        self.warning: str | None = None
        self.pauses, error = pauses_in_force(layout)
        if error is not None:
            self.store(self.pauses)
            self.warning = damage_note(error)

    def is_on_disk(self) -> bool:
        """Tell whether the file says what is in force; somebody may have damaged it since."""
        try:
            return load_pauses(self._layout) == self.pauses
        except (OSError, TypedError):
            return False

    def store(self, pauses: Pauses) -> None:
        """Put the pauses on disk; OSError if it refuses, and those before stay in force."""
        self._quarantine.make_room(self._layout.paused)
        replace_file(self._layout.paused, to_bytes({"schema": SCHEMA, **pauses.to_json()}))
        self.pauses = pauses


def damage_note(error: TypedError) -> str:
    """What the operator should know of a damaged file."""
    return f"{error}: everything is paused; 'supervisor resume' lifts it"

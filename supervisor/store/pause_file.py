"""paused.json: what the operator has paused, across restarts. Only the supervisor writes it.

``{"schema": "pipeline-supervisor/paused/1", "since": instant or null, "groups": {name: instant}}``.
If it is damaged, everything is paused, for every reader: a paused run must not start because a file
was lost. ``resume`` lifts that like any other pause.
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
    """Read the pauses; none if the file is missing.

    Raises:
        BadRecordError, BadFileError: it is damaged, or not ours.
        NewerRecordError: a later version wrote it.
        OSError: it cannot be read.
    """
    try:
        data = read_object(layout.paused)
    except FileNotFoundError:
        return Pauses()
    check_schema(data, SCHEMA, layout.paused)
    return Pauses.from_fields(JsonReader(data, layout.paused))


def pauses_in_force(layout: Layout) -> tuple[Pauses, TypedError | None]:
    """The pauses in force, and the damage of the file, None if there is none.

    Raises:
        NewerRecordError: a later version wrote it.
        OSError: it cannot be read.
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
    """The pauses in memory and on disk.

    Args:
        layout: the root.
        quarantine: moves a foreign file out of the place of ``paused.json``.

    Attributes:
        pauses: those in force.
        warning: for the operator, if the file is damaged, otherwise None.

    Raises:
        NewerRecordError: a later version wrote the file.
        OSError: it cannot be read, or the pause of everything cannot be written.
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
        """Whether the file contains the pauses in force; it may have been damaged since."""
        try:
            return load_pauses(self._layout) == self.pauses
        except (OSError, TypedError):
            return False

    def store(self, pauses: Pauses) -> None:
        """Write the pauses; raises OSError if the disk refuses, and nothing changes."""
        self._quarantine.make_room(self._layout.paused)
        replace_file(self._layout.paused, to_bytes({"schema": SCHEMA, **pauses.to_json()}))
        self.pauses = pauses


def damage_note(error: TypedError) -> str:
    """The warning about a damaged file."""
    return f"{error}: everything is paused; 'supervisor resume' lifts it"

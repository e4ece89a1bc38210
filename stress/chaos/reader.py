"""A reader that reads the records all the time, as a reviewer's script would.

A final status must never change, and every record must parse at every instant.
"""

import json
import os
import threading
from typing import Any, Final

from stress.chaos.pipelines import TASK
from workers.records.ids import is_run_id
from workers.records.layout import Layout

_FINAL: Final = ("succeeded", "failed", "cancelled")
_EVERY_S: Final = 0.1


class Reader:
    """Reads in a separate thread from ``start`` to ``stop``.

    Args:
        layout: the root.

    Attributes:
        seen: the first final status and detail of each run.
        problems: violations.
        reads_count: the number of passes over all records.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self.seen: dict[str, tuple[str, str | None]] = {}
        self.problems: list[str] = []
        self.reads_count = 0

    def start(self) -> None:
        """Start reading."""
        self._thread.start()

    def stop(self) -> None:
        """End, after one more pass."""
        self._end.set()
        self._thread.join()
        self.read()

    def _read(self) -> None:
        while not self._end.wait(_EVERY_S):
            self.read()

    def read(self) -> None:
        """Read every manifest that is not known to be final, and the views."""
        self.reads_count += 1
        for path in (self._layout.state(TASK), self._layout.metrics(TASK), self._layout.status):
            self._parse(path)
        try:
            names = os.listdir(self._layout.runs_of(TASK))
        except FileNotFoundError:
            return
        final = self._end.is_set()  # the last pass reads everything
        for name in names:
            if is_run_id(name) and (final or name not in self.seen):
                self._note(name, self._parse(self._layout.run_dir(TASK, name).manifest))

    def _note(self, run_id: str, manifest: dict[str, Any] | None) -> None:
        if manifest is None or manifest.get("status") not in _FINAL:
            return
        now = (manifest["status"], manifest["status_detail"])
        before = self.seen.setdefault(run_id, now)
        if before != now:
            self.problems.append(f"{run_id}: was seen as {before}, is {now}")

    def _parse(self, path: str) -> dict[str, Any] | None:
        try:
            with open(path, "rb") as file:
                data = file.read()
        except OSError:
            return None
        try:
            value = json.loads(data)
        except ValueError as error:
            self.problems.append(f"{path} did not parse: {error}")
            return None
        return value if isinstance(value, dict) else None

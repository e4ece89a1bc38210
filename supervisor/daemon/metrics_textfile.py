"""metrics_textfile: the figures in a file for a textfile collector; a file is replaced whole.

It is written when something has changed, at most every EVERY_S seconds, and once at the end. Unlike
a record it may be read by others (mode 0644), since a collector is another user; it is a view, and
what the disk refuses is told once and tried again.
"""

import contextlib
import os
from typing import Final

from supervisor.report.export.output_file import write_output
from supervisor.report.read.root_metrics import RootMetricsReader
from supervisor.store.log import Log
from supervisor.store.root_listing import tasks
from workers.records.atomic import sweep_temporaries
from workers.records.layout import Layout
from workers.records.typed_errors import TypedError

EVERY_S: Final = 5.0  # scrapers look every 15 s or more seldom
_MODE: Final = 0o644


class MetricsTextfile:
    """Writes the figures.

    Args:
        path: the file; None writes nothing and costs nothing.
        layout: the root.
        log: who is told of a disk that refuses.
    """

    def __init__(self, path: str | None, layout: Layout, log: Log) -> None:
        self._path = path
        self._layout = layout
        self._log = log
        self._reader: RootMetricsReader | None = None
        self._next_mono_s = 0.0
        self._written: tuple[tuple[str, int], ...] = ()
        self._refused = False

    def look(self, now_mono_s: float) -> None:
        """Write the file where it is time and something has changed."""
        if self._path is None or now_mono_s < self._next_mono_s:
            return
        self._next_mono_s = now_mono_s + EVERY_S
        seen = self._seen()
        if seen != self._written and self._write(up=True):
            self._written = seen

    def finish(self) -> None:
        """The supervisor ends: say so in the file."""
        if self._path is not None:
            self._write(up=False)

    def _seen(self) -> tuple[tuple[str, int], ...]:
        """When the records that the figures come from were last written."""
        found = []
        places: list[str] = []
        with contextlib.suppress(OSError):  # written all the same when it can be read again
            places = [self._layout.metrics(task_id) for task_id in tasks(self._layout)]
        for path in (self._layout.status, *places):
            with contextlib.suppress(OSError):
                found.append((path, os.stat(path).st_mtime_ns))
        return tuple(found)

    def _write(self, *, up: bool) -> bool:
        from supervisor.report.export.prometheus import (
            prometheus_text,  # heavy: only where it is wanted
        )

        path = str(self._path)
        if self._reader is None:
            self._reader = RootMetricsReader(self._layout)
            sweep_temporaries(os.path.realpath(path))
        text = prometheus_text(self._reader.read(up=up))
        try:
            write_output(path, text.encode(), flush=False, mode=_MODE, waits=False)
        except (OSError, TypedError) as error:
            if not self._refused:
                self._log.write("metrics_textfile_refused", path=path, why=str(error))
            self._refused = True
            return False
        self._refused = False
        return True

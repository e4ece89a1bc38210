"""The metrics file for Prometheus's textfile collector (setting ``metrics_textfile``).

It is replaced when something has changed, at most every EVERY_S seconds, and at shutdown. Unlike a
record it is readable by others (mode 0644), since the collector is another user. If the disk
refuses, that is logged once and tried again.
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

EVERY_S: Final = 5.0  # scrape intervals are 15 s or longer
_MODE: Final = 0o644


class MetricsTextfile:
    """Writes the metrics file.

    Args:
        path: the file; None writes nothing and costs nothing.
        layout: the root.
        log: gets refusals of the disk.
    """

    def __init__(self, path: str | None, layout: Layout, log: Log) -> None:
        self._path = path
        self._layout = layout
        self._log = log
        self._reader: RootMetricsReader | None = None
        self._next_mono_s = 0.0
        self._written: tuple[tuple[str, int], ...] = ()
        self._refused = False

    def update(self, now_mono_s: float) -> None:
        """Write the file if it is due and something has changed."""
        if self._path is None or now_mono_s < self._next_mono_s:
            return
        self._next_mono_s = now_mono_s + EVERY_S
        modified = self._modified()
        if modified != self._written and self._write(up=True):
            self._written = modified

    def finish(self) -> None:
        """Write at shutdown that the supervisor is down."""
        if self._path is not None:
            self._write(up=False)

    def _modified(self) -> tuple[tuple[str, int], ...]:
        """When each record that the metrics come from was last written."""
        times = []
        paths: list[str] = []
        with contextlib.suppress(OSError):  # a later call can read it again
            paths = [self._layout.metrics(task_id) for task_id in tasks(self._layout)]
        for path in (self._layout.status, *paths):
            with contextlib.suppress(OSError):
                times.append((path, os.stat(path).st_mtime_ns))
        return tuple(times)

    def _write(self, *, up: bool) -> bool:
        from supervisor.report.export.prometheus import prometheus_text  # slow to import

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

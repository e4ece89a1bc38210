"""Records finished runs in an order that survives a crash.

Verdict in the journal (written before), manifest, history, then the verdict is reported, then the
state. Only the state waits for a lock; the manifest is written even if the snapshot cannot be.
"""

import os
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from supervisor.store.manifest_writer import ManifestWriter
from supervisor.store.quarantine import Quarantine
from supervisor.store.run_file_sizes import measure_files
from supervisor.store.run_reader import RunReader
from supervisor.store.state_store import TaskStateStore
from workers.records.clock import Clock
from workers.records.files import read_object
from workers.records.history import history_line, lines_of_runs
from workers.records.layout import Layout
from workers.records.limits import Limits
from workers.records.manifest import FINAL
from workers.records.manifest_check import check_manifest
from workers.records.typed_errors import NewerRecordError, TypedError

_Lines = dict[str, list[dict[str, Any]]]
"""New lines of the history, by task id."""


class PersistenceCoordinator:
    """Writes manifests, histories and states. Only the supervisor creates one.

    Args:
        layout: the root.
        history_limit: how many runs a state shows.
        limits: the limits in force.
        clock: the source of instants.
        quarantine: moves foreign files out of a record's place.
    """

    def __init__(
        self,
        layout: Layout,
        *,
        history_limit: int,
        limits: Limits,
        clock: Clock,
        quarantine: Quarantine,
    ) -> None:
        self._layout = layout
        self._quarantine = quarantine
        self._history_limit = history_limit
        self._limits = limits
        self._clock = clock
        self._stores: dict[str, TaskStateStore] = {}
        self._writers: dict[str, ManifestWriter] = {}
        self._recorded: dict[str, dict[str, dict[str, Any]]] = {}

    def store(self, task_id: str) -> TaskStateStore:
        """The store of a task, created at first use."""
        if task_id not in self._stores:
            self._quarantine.make_room(self._layout.history(task_id), parses=False)
            self._quarantine.make_room(self._layout.state(task_id))
            self._quarantine.make_room(self._layout.metrics(task_id))
            self._stores[task_id] = TaskStateStore(
                self._layout, task_id, history_limit=self._history_limit, limits=self._limits
            )
        return self._stores[task_id]

    def is_stale(self, task_id: str) -> bool:
        """Whether a task's state on disk differs from its history; call at startup."""
        if task_id in self._stores:
            return self._stores[task_id].is_stale
        stale = self.store(task_id).is_stale
        if not stale:
            del self._stores[task_id]  # it may never be needed
        return stale

    def write_manifest(
        self, reader: RunReader, *, liveness: str | None = None, owed: str | None = None
    ) -> None:
        """Project a run's journal into its manifest.

        A loss of power may restore an older manifest, except the final one: it is a view, and
        recovery writes it again.

        Args:
            reader: what was read of the run.
            liveness: how alive its worker is.
            owed: why the task's state still lacks the run, None if it does not.

        Raises:
            OSError, BadFileError: it could not be written. The old one is unchanged, and the next
                one contains a warning.
        """
        self._writer(reader).refresh(reader, liveness, owed)

    def _writer(self, reader: RunReader) -> ManifestWriter:
        run_id = reader.spec.run_id
        if run_id not in self._writers:
            self._writers[run_id] = ManifestWriter(
                reader.run.manifest, layout=self._layout, limits=self._limits, clock=self._clock
            )
        return self._writers[run_id]

    def record(self, readers: Iterable[RunReader]) -> dict[str, OSError | TypedError | None]:
        """Write the final manifests of ended runs and append the runs to their histories.

        Runs of one task share one append and one flush.

        Returns:
            For each run id None if it is recorded, otherwise the error.
        """
        outcome: dict[str, OSError | TypedError | None] = {}
        lines: _Lines = {}
        for reader in readers:
            run_id = reader.spec.run_id
            try:
                manifest = self._writer(reader).write(reader)
            except (OSError, TypedError) as error:
                outcome[run_id] = error
                continue
            if run_id in self._recorded.get(reader.spec.task_id, ()):
                outcome[run_id] = None  # an earlier supervisor appended it before it died
                continue
            slowest_s = round(self._writers[run_id].slowest_s, 6)
            self._add_line(lines, reader, manifest, {"slowestManifestSeconds": slowest_s})
        for task_id, group in lines.items():
            failure = self._append(task_id, group)
            outcome |= {str(line["runId"]): failure for line in group}
        return outcome

    def _add_line(
        self, lines: _Lines, reader: RunReader, manifest: dict[str, Any], more: dict[str, Any]
    ) -> None:
        line = history_line(manifest, self._layout.relative(reader.run.manifest))
        line |= measure_files(reader.run, manifest) | more
        line["badLines"] = reader.bad_lines_count
        lines.setdefault(reader.spec.task_id, []).append(line)

    def _append(self, task_id: str, group: list[dict[str, Any]]) -> OSError | TypedError | None:
        group.sort(key=lambda line: str(line["timestamp"]))  # in the order in which they ended
        try:
            self.store(task_id).append(group)
        except (OSError, TypedError) as error:
            return error
        return None

    def recorded(self, task_id: str, run_ids: Collection[str]) -> Mapping[str, Mapping[str, Any]]:
        """The history lines of runs that still have a marker; these are not appended again.

        Args:
            task_id: the task.
            run_ids: every run with a marker; later calls return the result of the first.
        """
        if task_id not in self._recorded:
            self.store(task_id)  # quarantines a foreign file in the history's place
            self._recorded[task_id] = lines_of_runs(self._layout.history(task_id), run_ids)
        return self._recorded[task_id]

    def lacks_lines(self, task_id: str) -> bool:
        """Whether a history is shorter than it was: deleted, or restored from an older copy.

        The task's metrics, which are in another directory, contain its length.
        """
        path = self._layout.history(task_id)
        size = os.path.getsize(path) if os.path.exists(path) else 0
        try:
            noted = read_object(self._layout.metrics(task_id)).get("history_bytes")
        except (OSError, TypedError):
            noted = None
        return size < noted if isinstance(noted, int) else size == 0

    def restore_lines(self, readers: Iterable[RunReader]) -> None:
        """Append finished runs that are missing from their task's history, as they ended.

        Manifests that can be read are not changed.

        Raises:
            OSError, BadFileError: the disk refuses; the next start tries again.
        """
        lines: _Lines = {}
        for reader in readers:
            self._add_line(lines, reader, self._final_manifest(reader), {})
        for task_id, group in lines.items():
            error = self._append(task_id, group)
            if error is not None:
                raise error
            self.store(task_id).is_stale = True

    def rewrite_manifest(self, reader: RunReader) -> None:
        """Write the manifest of a run again from its journal; raises as write_manifest."""
        self._writer(reader).write(reader)

    def _final_manifest(self, reader: RunReader) -> dict[str, Any]:
        """The manifest of a finished run, written again if it is damaged or not final."""
        spec, path = reader.spec, reader.run.manifest
        try:
            manifest = read_object(path)
            check_manifest(manifest, path, task_id=spec.task_id, run_id=spec.run_id)
        except NewerRecordError:
            raise
        except (OSError, TypedError):
            return self._writer(reader).write(reader)
        return manifest if manifest["status"] in FINAL else self._writer(reader).write(reader)

    def close(self) -> None:
        """Remove the spare files next to the manifests of runs that continue without us."""
        for writer in self._writers.values():
            writer.close()

    def forget(self, run_id: str) -> None:
        """Remove the marker of a run that history and state contain, and drop its writer.

        If a loss of power restores the marker, the next start removes it again.
        """
        writer = self._writers.pop(run_id, None)
        if writer is not None:
            writer.close()
        try:
            os.unlink(self._layout.marker(run_id))
        except FileNotFoundError:
            return

"""Putting finished runs on record, in the order that a crash cannot spoil.

Verdict in the journal (done before we are called), manifest, history, then it may be said, then the
state. Only the state waits for a lock; the manifest is written even where the snapshot cannot be.
"""

import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import field, replace
from typing import Any

from supervisor.store.double_buffered_file import DoubleBufferedFile
from supervisor.store.quarantine import Quarantine
from supervisor.store.run_file_sizes import measure_files
from supervisor.store.run_reader import RunReader
from supervisor.store.state_store import TaskStateStore
from supervisor.store.written_manifest import WrittenManifest
from workers.records.atomic import WriteCost, to_bytes
from workers.records.clock import Clock, utc_text
from workers.records.dataclass import dataclass
from workers.records.files import read_object
from workers.records.history import history_line, lines_of_runs
from workers.records.layout import Layout
from workers.records.limits import Limits
from workers.records.manifest import FINAL, Observed, fold_manifest
from workers.records.manifest_check import check_manifest
from workers.records.typed_errors import NewerRecordError, TypedError


@dataclass(slots=True)
class _Notes:
    """What we observed of one run's records."""

    file: DoubleBufferedFile
    written: WrittenManifest | None = None
    slowest_s: float = 0.0
    refused_count: int = 0
    why: str = ""
    warnings: list[dict[str, Any]] = field(default_factory=list)


class PersistenceCoordinator:
    """Writes manifests, histories and states. Only the supervisor makes one.

    Args:
        layout: the root.
        history_limit: how many runs a state shows.
        limits: the limits in force.
        clock: where instants come from.
        quarantine: makes room where something else stands in a record's place.
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
        self._notes: dict[str, _Notes] = {}
        self._recorded: dict[str, dict[str, dict[str, Any]]] = {}

    def store(self, task_id: str) -> TaskStateStore:
        """The store of a task, made when it is first needed."""
        if task_id not in self._stores:
            self._quarantine.make_room(self._layout.history(task_id), parses=False)
            self._quarantine.make_room(self._layout.state(task_id))
            self._quarantine.make_room(self._layout.metrics(task_id))
            self._stores[task_id] = TaskStateStore(
                self._layout,
                task_id,
                history_limit=self._history_limit,
                limits=self._limits,
            )
        return self._stores[task_id]

    def is_stale(self, task_id: str) -> bool:
        """Tell whether a task's state on disk is not what its history says.

        Looked at once, at the start: no more is read than the state shows.
        """
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

        A loss of power may bring an older one back, but for the final one: it is a view, and
        recovery writes it anew. Where nothing but the beat is new, nothing else is made anew.

        Args:
            reader: what we have seen of the run.
            liveness: the supervisor's word for its worker.
            owed: why the task's state still lacks the run, None where it does not.

        Raises:
            OSError, BadFileError: it could not be written; the old one stands, and the next one
                that is written tells of it.
        """
        notes = self._notes_of(reader)
        written = notes.written
        if written is not None and written.basis == _basis(reader, notes, liveness, owed):
            updated_at, heartbeat_at = utc_text(self._clock.epoch_s()), reader.heartbeat_at()
            data = written.with_beat(updated_at, heartbeat_at)
            if data is not None:
                self._replace(notes, data, new_edition=False, last=False)
                notes.written = replace(
                    written, data=data, updated_at=updated_at, heartbeat_at=heartbeat_at
                )
                return
        self._write_anew(reader, liveness, owed)

    def _notes_of(self, reader: RunReader) -> _Notes:
        run_id = reader.spec.run_id
        if run_id not in self._notes:
            self._notes[run_id] = _Notes(DoubleBufferedFile(reader.run.manifest))
        return self._notes[run_id]

    def _write_anew(
        self, reader: RunReader, liveness: str | None = None, owed: str | None = None
    ) -> dict[str, Any]:
        """Fold and write a manifest; returns what is now on disk, and raises as write_manifest."""
        notes = self._notes_of(reader)
        notes.written = None
        basis = _basis(reader, notes, liveness, owed)
        manifest = fold_manifest(
            reader.spec,
            reader.facts,
            layout=self._layout,
            observed=Observed(
                updated_at=utc_text(self._clock.epoch_s()),
                heartbeat_at=reader.heartbeat_at(),
                warnings=(
                    *notes.warnings,
                    *([_refused(notes)] if notes.refused_count else []),
                    *([_owed(owed)] if owed else []),
                ),
                slowest_manifest_write_s=round(notes.slowest_s, 6),
                liveness=liveness,
            ),
        )
        is_final = manifest["status"] in FINAL
        data = to_bytes(manifest)
        self._replace(notes, data, new_edition=True, last=is_final)
        if not is_final:
            notes.written = WrittenManifest(
                basis=basis,
                data=data,
                updated_at=manifest["updated_at"],
                heartbeat_at=manifest["heartbeat_at"],
            )
        return manifest

    def _replace(self, notes: _Notes, data: bytes, *, new_edition: bool, last: bool) -> None:
        try:
            receipt = notes.file.replace(data, new_edition=new_edition, last=last)
        except (OSError, TypedError) as error:
            notes.written = None
            notes.refused_count += 1
            notes.why = str(error)
            raise
        notes.slowest_s = max(notes.slowest_s, receipt.seconds)
        if receipt.seconds > self._limits.write_deadline_s:
            notes.warnings.append(_slow_write(receipt, self._limits))

    def record(self, readers: Iterable[RunReader]) -> dict[str, OSError | TypedError | None]:
        """Write the terminal manifests of ended runs and append them to their histories.

        Runs of one task share one append and one flush.

        Returns:
            For each run id None where it is recorded, or why it could not be.
        """
        outcome: dict[str, OSError | TypedError | None] = {}
        lines: dict[str, list[dict[str, Any]]] = {}
        for reader in readers:
            run_id = reader.spec.run_id
            try:
                manifest = self._write_anew(reader)
            except (OSError, TypedError) as error:
                outcome[run_id] = error
                continue
            if run_id in self._recorded.get(reader.spec.task_id, ()):
                outcome[run_id] = None  # an earlier supervisor appended it before it died
                continue
            line = history_line(manifest, self._layout.relative(reader.run.manifest))
            line |= measure_files(reader.run, manifest)
            line["slowestManifestSeconds"] = round(self._notes[run_id].slowest_s, 6)
            line["badLines"] = reader.bad_lines_count
            lines.setdefault(reader.spec.task_id, []).append(line)
        for task_id, group in lines.items():
            group.sort(key=lambda line: str(line["timestamp"]))  # as they ended, not as we saw it
            why = self._append(task_id, group)
            outcome |= {str(line["runId"]): why for line in group}
        return outcome

    def _append(self, task_id: str, group: list[dict[str, Any]]) -> OSError | TypedError | None:
        try:
            self.store(task_id).append(group)
        except (OSError, TypedError) as error:
            return error
        return None

    def recorded(self, task_id: str, run_ids: Collection[str]) -> Mapping[str, Mapping[str, Any]]:
        """The history's lines of runs that still have a marker; they are not appended again.

        Args:
            task_id: the task.
            run_ids: every run with a marker; only those of the first call are searched for.
        """
        if task_id not in self._recorded:
            self.store(task_id)  # makes room if something else is in the history's place
            self._recorded[task_id] = lines_of_runs(self._layout.history(task_id), run_ids)
        return self._recorded[task_id]

    def lacks_lines(self, task_id: str) -> bool:
        """Tell whether a history is shorter than it was: deleted, or restored from an older copy.

        Its length is noted in the task's metrics, which are in another directory.
        """
        path = self._layout.history(task_id)
        size = os.path.getsize(path) if os.path.exists(path) else 0
        try:
            noted = read_object(self._layout.metrics(task_id)).get("history_bytes")
        except (OSError, TypedError):
            noted = None
        return size < noted if isinstance(noted, int) else size == 0

    def restore_lines(self, readers: Iterable[RunReader]) -> None:
        """Append finished runs that their task's history lacks, in the order in which they ended.

        Manifests stay as they are if they can be read.

        Raises:
            OSError, BadFileError: the disk refuses; the next start tries again.
        """
        lines: dict[str, list[dict[str, Any]]] = {}
        for reader in readers:
            manifest = self._final_manifest(reader)
            line = history_line(manifest, self._layout.relative(reader.run.manifest))
            line |= measure_files(reader.run, manifest)
            line["badLines"] = reader.bad_lines_count
            lines.setdefault(reader.spec.task_id, []).append(line)
        for task_id, group in lines.items():
            group.sort(key=lambda line: str(line["timestamp"]))
            store = self.store(task_id)
            store.append(group)
            store.is_stale = True

    def rewrite_manifest(self, reader: RunReader) -> None:
        """Write the manifest of a run again from its journal; errors as write_manifest."""
        self._write_anew(reader)

    def _final_manifest(self, reader: RunReader) -> dict[str, Any]:
        """The manifest of a finished run, written again if it is damaged or not final."""
        spec, path = reader.spec, reader.run.manifest
        try:
            manifest = read_object(path)
            check_manifest(manifest, path, task_id=spec.task_id, run_id=spec.run_id)
        except NewerRecordError:
            raise
        except (OSError, TypedError):
            return self._write_anew(reader)
        return manifest if manifest["status"] in FINAL else self._write_anew(reader)

    def close(self) -> None:
        """Leave no spare file beside the manifests of runs that go on without us."""
        for notes in self._notes.values():
            notes.file.close()

    def forget(self, run_id: str) -> None:
        """A run is in history and state: remove its marker and our notes of it.

        A marker whose removal a loss of power undoes is removed again by the next start.
        """
        notes = self._notes.pop(run_id, None)
        if notes is not None:
            notes.file.close()
        try:
            os.unlink(self._layout.marker(run_id))
        except FileNotFoundError:
            return


def _basis(
    reader: RunReader, notes: _Notes, liveness: str | None, owed: str | None
) -> tuple[object, ...]:
    """All that a manifest is made of, but for its instants and how long writing it took."""
    return len(reader.facts), len(notes.warnings), notes.refused_count, liveness, owed


def _owed(reason: str) -> dict[str, Any]:
    return {
        "code": "snapshot_owed",
        "message": f"the task's state could not be written yet ({reason}); the verdict is in "
        "manifest and history, and the state is tried again until it is written",
    }


def _refused(notes: _Notes) -> dict[str, Any]:
    return {
        "code": "manifest_refused",
        "message": f"{notes.refused_count} writes of manifest.json were refused and made up for: "
        f"{notes.why}",
    }


def _slow_write(receipt: WriteCost, limits: Limits) -> dict[str, Any]:
    return {
        "code": "slow_write",
        "message": f"writing manifest.json took {receipt.seconds:.1f} s, "
        f"more than {limits.write_deadline_s:g} s",
    }

"""Putting finished runs on record, in the order that a crash cannot spoil.

Verdict in the journal (done before we are called), manifest, history, then it may be said, then the
state. Only the state waits for a lock; the manifest is written even where the snapshot cannot be.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from supervisor.edge.aside import Aside
from supervisor.edge.evidence import measure_files
from supervisor.edge.run_reader import RunReader
from supervisor.edge.state_store import TaskStateStore
from workers.records.atomic import Receipt, replace_file, to_bytes
from workers.records.clock import Clock, utc_text
from workers.records.errors import TypedError
from workers.records.history import history_line
from workers.records.layout import Layout
from workers.records.limits import Limits
from workers.records.manifest import FINAL, Observed, fold_manifest


@dataclass(slots=True)
class _Notes:
    """What we observed of one run's records."""

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
        aside: makes room where something else stands in a record's place.
    """

    def __init__(
        self, layout: Layout, *, history_limit: int, limits: Limits, clock: Clock, aside: Aside
    ) -> None:
        self._layout = layout
        self._aside = aside
        self._history_limit = history_limit
        self._limits = limits
        self._clock = clock
        self._stores: dict[str, TaskStateStore] = {}
        self._notes: dict[str, _Notes] = {}
        self._recovered: dict[str, set[str]] = {}

    def store(self, task_id: str) -> TaskStateStore:
        """The store of a task, made when it is first needed."""
        if task_id not in self._stores:
            self._aside.make_room(self._layout.history(task_id), parses=False)
            self._aside.make_room(self._layout.state(task_id))
            self._aside.make_room(self._layout.metrics(task_id))
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
    ) -> dict[str, Any]:
        """Project a run's journal into its manifest.

        A loss of power may bring an older one back, but for the final one: it is a view, and
        recovery writes it anew.

        Args:
            reader: what we have seen of the run.
            liveness: the supervisor's word for its worker.
            owed: why the task's state still lacks the run, None where it does not.

        Returns:
            The manifest that is now on disk.

        Raises:
            OSError, BadFileError: it could not be written; the old one stands, and the next one
                that is written tells of it.
        """
        notes = self._notes.setdefault(reader.spec.run_id, _Notes())
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
        try:
            receipt = replace_file(
                reader.run.manifest, to_bytes(manifest), flush_name=manifest["status"] in FINAL
            )
        except (OSError, TypedError) as error:
            notes.refused_count += 1
            notes.why = str(error)
            raise
        notes.slowest_s = max(notes.slowest_s, receipt.seconds)
        if receipt.seconds > self._limits.write_deadline_s:
            notes.warnings.append(_slow_write(receipt, self._limits))
        return manifest

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
                manifest = self.write_manifest(reader)
            except (OSError, TypedError) as error:
                outcome[run_id] = error
                continue
            if run_id in self._recovered.get(reader.spec.task_id, ()):
                outcome[run_id] = None  # an earlier supervisor appended it before it died
                continue
            line = history_line(manifest, self._layout.relative(reader.run.manifest))
            line |= measure_files(reader.run, manifest)
            line["slowestManifestSeconds"] = round(self._notes[run_id].slowest_s, 6)
            line["badLines"] = reader.bad_lines_count
            lines.setdefault(reader.spec.task_id, []).append(line)
        for task_id, group in lines.items():
            why = self._append(task_id, group)
            outcome |= {str(line["runId"]): why for line in group}
        return outcome

    def _append(self, task_id: str, group: list[dict[str, Any]]) -> OSError | TypedError | None:
        try:
            self.store(task_id).append(group)
        except (OSError, TypedError) as error:
            return error
        return None

    def recovered(self, task_id: str) -> None:
        """A run with a verdict was found: its task's history may hold it already."""
        if task_id not in self._recovered:
            self._recovered[task_id] = self.store(task_id).recent_ids()

    def forget(self, run_id: str) -> None:
        """A run is in history and state: remove its marker and our notes of it.

        A marker whose removal a loss of power undoes is removed again by the next start.
        """
        self._notes.pop(run_id, None)
        try:
            os.unlink(self._layout.marker(run_id))
        except FileNotFoundError:
            return


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


def _slow_write(receipt: Receipt, limits: Limits) -> dict[str, Any]:
    return {
        "code": "slow_write",
        "message": f"writing manifest.json took {receipt.seconds:.1f} s, "
        f"more than {limits.write_deadline_s:g} s",
    }

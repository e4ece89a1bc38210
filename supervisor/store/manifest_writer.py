"""Writes one run's manifest again and again, as cheaply as records allow.

A manifest that differs from the last one only in its two instants is not folded again. The file
that a manifest replaces is written into the next time (``DoubleBufferedFile``). Both serve the row
"supervisor's CPU, 50 live" of the benches, which grows by a third without the first, by two thirds
without the second.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from supervisor.store.double_buffered_file import DoubleBufferedFile
from supervisor.store.run_reader import RunReader
from workers.records.atomic import to_bytes
from workers.records.clock import Clock, utc_text
from workers.records.dataclass import dataclass
from workers.records.json_text import indent_json
from workers.records.layout import Layout
from workers.records.limits import Limits
from workers.records.manifest import FINAL, Observed, fold_manifest
from workers.records.typed_errors import TypedError


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenManifest:
    """The manifest that was written last.

    Attributes:
        basis: everything that determines it, except its two instants.
        data: its bytes.
        updated_at, heartbeat_at: its instants; the second is None without a heartbeat.
    """

    basis: tuple[object, ...]
    data: bytes
    updated_at: str
    heartbeat_at: str | None

    def with_beat(self, updated_at: str, heartbeat_at: str | None) -> "WrittenManifest | None":
        """The same manifest with other instants; None if its size would change."""
        if heartbeat_at is None or self.heartbeat_at is None:
            return None
        data = self.data
        for key, old, new in (
            (b"updated_at", self.updated_at, updated_at),
            (b"heartbeat_at", self.heartbeat_at, heartbeat_at),
        ):
            before, after = _field(key, old), _field(key, new)
            if len(before) != len(after) or data.count(before) != 1:
                return None
            data = data.replace(before, after)
        return replace(self, data=data, updated_at=updated_at, heartbeat_at=heartbeat_at)


def _field(key: bytes, instant: str) -> bytes:
    """One field as ``to_bytes`` writes it at the top level of a record, and nowhere else."""
    return b'\n  "%s": %s,\n' % (key, indent_json(instant).encode())


class ManifestWriter:
    """Writes the manifest of one run, and counts slow and failed writes.

    Args:
        path: the manifest.
        layout: the root.
        limits: the limits in force.
        clock: the source of instants.

    Attributes:
        slowest_s: the longest write.
    """

    def __init__(self, path: str, *, layout: Layout, limits: Limits, clock: Clock) -> None:
        self._layout = layout
        self._limits = limits
        self._clock = clock
        self._file = DoubleBufferedFile(path)
        self._written: WrittenManifest | None = None
        self._refused_count = 0
        self._refused_reason = ""
        self._slow_writes: list[dict[str, Any]] = []
        self.slowest_s = 0.0

    def refresh(self, reader: RunReader, liveness: str | None, owed: str | None) -> None:
        """Write the manifest; reuse the last one if only the heartbeat moved.

        Arguments and errors are those of PersistenceCoordinator.write_manifest.
        """
        if self._written is not None and self._written.basis == self._basis(reader, liveness, owed):
            instant = utc_text(self._clock.epoch_s())
            written = self._written.with_beat(instant, reader.heartbeat_at())
            if written is not None:
                self._replace(written.data, new_edition=False, last=False)
                self._written = written
                return
        self.write(reader, liveness, owed)

    def write(
        self, reader: RunReader, liveness: str | None = None, owed: str | None = None
    ) -> dict[str, Any]:
        """Fold and write the manifest; returns what is on disk, and raises as ``refresh``."""
        self._written = None
        basis = self._basis(reader, liveness, owed)
        manifest = fold_manifest(
            reader.spec,
            reader.facts,
            layout=self._layout,
            observed=Observed(
                updated_at=utc_text(self._clock.epoch_s()),
                heartbeat_at=reader.heartbeat_at(),
                warnings=tuple(self._warnings(owed)),
                slowest_manifest_write_s=round(self.slowest_s, 6),
                liveness=liveness,
            ),
        )
        is_final = manifest["status"] in FINAL
        data = to_bytes(manifest)
        self._replace(data, new_edition=True, last=is_final)
        if not is_final:
            self._written = WrittenManifest(
                basis=basis,
                data=data,
                updated_at=manifest["updated_at"],
                heartbeat_at=manifest["heartbeat_at"],
            )
        return manifest

    def close(self) -> None:
        """Remove the spare file."""
        self._file.close()

    def _basis(
        self, reader: RunReader, liveness: str | None, owed: str | None
    ) -> tuple[object, ...]:
        return len(reader.facts), len(self._slow_writes), self._refused_count, liveness, owed

    def _replace(self, data: bytes, *, new_edition: bool, last: bool) -> None:
        try:
            cost = self._file.replace(data, new_edition=new_edition, last=last)
        except (OSError, TypedError) as error:
            self._written = None
            self._refused_count += 1
            self._refused_reason = str(error)
            raise
        self.slowest_s = max(self.slowest_s, cost.seconds)
        if cost.seconds > self._limits.write_deadline_s:
            message = f"writing manifest.json took {cost.seconds:.1f} s, "
            message += f"more than {self._limits.write_deadline_s:g} s"
            self._slow_writes.append({"code": "slow_write", "message": message})

    def _warnings(self, owed: str | None) -> Iterator[dict[str, Any]]:
        yield from self._slow_writes
        if self._refused_count:
            message = f"{self._refused_count} writes of manifest.json were refused and made up "
            message += f"for: {self._refused_reason}"
            yield {"code": "manifest_refused", "message": message}
        if owed:
            message = f"the task's state could not be written yet ({owed}); the verdict is in "
            message += "manifest and history, and the state is tried again until it is written"
            yield {"code": "snapshot_owed", "message": message}

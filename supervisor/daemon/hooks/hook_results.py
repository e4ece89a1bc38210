"""Writing the records of hooks: a record that the disk refuses is owed, and written later."""

import time
from collections import deque
from typing import Any, Final

from supervisor.store.log import Log
from workers.records.atomic import replace_file, to_bytes
from workers.records.dataclass import dataclass
from workers.records.hooks import HookSpec
from workers.records.spec import RunSpec
from workers.records.typed_errors import TypedError

RETRY_EVERY_S: Final = 0.5


@dataclass(slots=True, kw_only=True)
class PendingHooks:
    """A run with hooks to start.

    Attributes:
        facts: its verdict, for the environment.
        left: the hooks that are not claimed yet.
        owed: path and content of the record that the disk refused.
        retry_mono_s: when to write it again.
        until_mono_s: an exit waits for it until then.
    """

    spec: RunSpec
    facts: dict[str, str]
    left: deque[HookSpec]
    owed: tuple[str, dict[str, Any]] = ("", {})
    retry_mono_s: float = 0.0
    until_mono_s: float = 0.0


class HookRecords:
    """Writes the records of hooks."""

    def __init__(self, log: Log, owed_wait_s: float) -> None:
        self._log = log
        self._owed_wait_s = owed_wait_s
        self._owing: list[PendingHooks] = []

    @property
    def is_busy(self) -> bool:
        """A record is owed and must be waited for."""
        now = time.monotonic()
        return any(now < pending.until_mono_s for pending in self._owing)

    def limit_wait(self, wait_s: float) -> None:
        """Wait at most this long for what is owed."""
        until = time.monotonic() + wait_s
        for pending in self._owing:
            pending.until_mono_s = min(pending.until_mono_s, until)

    def write(self, pending: PendingHooks, path: str, record: dict[str, Any]) -> bool:
        """Write and flush a record; False if it is owed, and ``paid`` will return its run.

        A record that can never be written (the run's directory is gone, or something else is in
        the record's place) is logged and dropped.
        """
        error = _write(path, record)
        if error is None:
            return True
        run_id = pending.spec.run_id
        self._log.write("hook_record_failed", run_id=run_id, path=path, why=str(error))
        if not _is_transient(error):
            return True
        now = time.monotonic()
        pending.owed = path, record
        pending.retry_mono_s, pending.until_mono_s = now + RETRY_EVERY_S, now + self._owed_wait_s
        self._owing.append(pending)
        return False

    def paid(self) -> list[PendingHooks]:
        """Write again what is due; returns the runs whose record is no longer owed."""
        paid = []
        for pending in list(self._owing):
            now = time.monotonic()
            if now < pending.retry_mono_s:
                continue
            pending.retry_mono_s = now + RETRY_EVERY_S
            error = _write(*pending.owed)
            if error is None or not _is_transient(error):
                self._owing.remove(pending)
                paid.append(pending)
                event = "hook_record_written" if error is None else "hook_record_dropped"
                self._log.write(event, run_id=pending.spec.run_id, path=pending.owed[0])
        return paid


def _write(path: str, record: dict[str, Any]) -> OSError | TypedError | None:
    """Write a record; returns the error, None if it succeeded."""
    try:
        replace_file(path, to_bytes(record))
    except (OSError, TypedError) as error:
        return error
    return None


def _is_transient(error: OSError | TypedError) -> bool:
    return not isinstance(error, FileNotFoundError | TypedError)


def verdict_of(manifest: dict[str, Any]) -> dict[str, Any]:
    """The verdict in a final manifest, by the journal's field names."""
    extensions = manifest.get("extensions")
    more = extensions if isinstance(extensions, dict) else {}
    return {
        "status": manifest.get("status"),
        "detail": manifest.get("status_detail"),
        "reason": more.get("reason"),
        "duration_s": more.get("duration_s"),
    }

"""Writing the records of hooks: what the disk refuses is owed, and written later."""

import time
from typing import Any, Final, Generic, TypeVar

from supervisor.store.log import Log
from workers.records.atomic import replace_file, to_bytes
from workers.records.dataclass import dataclass
from workers.records.typed_errors import TypedError

RETRY_EVERY_S: Final = 0.5

Owner = TypeVar("Owner")


@dataclass(slots=True, kw_only=True)
class _OwedResult(Generic[Owner]):
    """A record that the disk refused.

    Attributes:
        owner: who waits for it.
        due_mono_s: when it is tried again.
        until_mono_s: until then it is worth waiting for.
    """

    owner: Owner
    run_id: str
    path: str
    record: dict[str, Any]
    due_mono_s: float
    until_mono_s: float


class HookRecords(Generic[Owner]):
    """Writes hooks' records. ``Owner`` waits for those that are owed.

    Args:
        log: where a refusal is written.
        owed_wait_s: so long an owed record is worth waiting for.
    """

    def __init__(self, log: Log, owed_wait_s: float) -> None:
        self._log = log
        self._owed_wait_s = owed_wait_s
        self._owed: list[_OwedResult[Owner]] = []

    @property
    def is_busy(self) -> bool:
        """Something is owed and worth waiting for."""
        now = time.monotonic()
        return any(now < item.until_mono_s for item in self._owed)

    def hurry(self, patience_s: float) -> None:
        """Wait no longer than this for what is owed."""
        until = time.monotonic() + patience_s
        for item in self._owed:
            item.until_mono_s = min(item.until_mono_s, until)

    def write(self, owner: Owner, run_id: str, path: str, record: dict[str, Any]) -> bool:
        """Write a record, flushed; False if it is owed now, and ``paid`` will name its owner.

        One that can never be written (the run's directory is gone, or something else is in the
        record's place) is logged and given up.
        """
        error = _refused(path, record)
        if error is None:
            return True
        self._log.write("hook_record_failed", run_id=run_id, path=path, why=str(error))
        if not _may_pass(error):
            return True
        now = time.monotonic()
        item = _OwedResult(
            owner=owner,
            run_id=run_id,
            path=path,
            record=record,
            due_mono_s=now + RETRY_EVERY_S,
            until_mono_s=now + self._owed_wait_s,
        )
        self._owed.append(item)
        return False

    def paid(self) -> list[Owner]:
        """Try again what is owed and due; returns the owners of what is owed no more."""
        found = []
        for item in list(self._owed):
            now = time.monotonic()
            if now < item.due_mono_s:
                continue
            item.due_mono_s = now + RETRY_EVERY_S
            error = _refused(item.path, item.record)
            if error is None or not _may_pass(error):
                self._owed.remove(item)
                found.append(item.owner)
                event = "hook_record_written" if error is None else "hook_record_dropped"
                self._log.write(event, run_id=item.run_id, path=item.path)
        return found


def _refused(path: str, record: dict[str, Any]) -> OSError | TypedError | None:
    """Write a record; returns why that failed, None if it did not."""
    try:
        replace_file(path, to_bytes(record))
    except (OSError, TypedError) as error:
        return error
    return None


def _may_pass(error: OSError | TypedError) -> bool:
    """Tell whether the same write may succeed later."""
    return not isinstance(error, FileNotFoundError | TypedError)


def verdict_of(manifest: dict[str, Any]) -> dict[str, Any]:
    """What a final manifest says of the verdict, as the journal calls it."""
    extensions = manifest.get("extensions")
    more = extensions if isinstance(extensions, dict) else {}
    return {
        "status": manifest.get("status"),
        "detail": manifest.get("status_detail"),
        "reason": more.get("reason"),
        "duration_s": more.get("duration_s"),
    }

"""Exit codes of finished runs: 0 ok, 10 failed, 11 cancelled, 12 lost."""

from collections.abc import Iterable
from typing import Final

from workers.records.dataclass import dataclass
from workers.records.spec import RunSpec

OK: Final = 0
FAILED: Final = 10
CANCELLED: Final = 11
LOST: Final = 12
LOST_DETAILS: Final = ("worker-lost", "worker-hung", "spawn-failed", "run-dir-deleted")
_WORST_FIRST: Final = (LOST, FAILED, CANCELLED)


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedRun:
    """A recorded run; ``manifest`` is relative to the root, ``reason`` is a message."""

    spec: RunSpec
    status: str
    detail: str | None
    reason: str | None
    duration_s: float | None
    manifest: str


def exit_code(status: str, detail: str | None) -> int:
    """The exit code of one finished run."""
    if status == "succeeded":
        return OK
    if status == "cancelled":
        return CANCELLED
    return LOST if detail in LOST_DETAILS else FAILED


def worst_exit_code(codes: Iterable[int]) -> int:
    """The exit code of several runs: the first of lost, failed, cancelled, ok that occurs."""
    found = set(codes)
    return next((code for code in _WORST_FIRST if code in found), OK)

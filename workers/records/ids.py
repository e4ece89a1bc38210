"""Ids of tasks, pipelines, stages and runs.

An id becomes a file name, so an allow-list applies (docs/reference): 1 to 100 characters, the first
a letter or a digit, no "..", not ending in ".lock" (a task's lock file is next to the task's
directory). Two ids that differ only in case are the same file on some disks and count as equal. A
run id sorts by time: 2025-10-31T22-56-34-431Z-9574035c.
"""

import re
from typing import Final

from workers.records.clock import utc_text
from workers.records.typed_errors import BadIdError

ID_PATTERN: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
_ID: Final = re.compile(ID_PATTERN)
RUN_ID_PATTERN: Final = r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d-\d{3}Z-[0-9a-f]{8}"
_RUN_ID: Final = re.compile(RUN_ID_PATTERN)


def id_problem(value: str) -> str | None:
    """Why ``value`` is not an id ("is empty"), or None if it is one."""
    if not value:
        return "is empty"
    if len(value) > 100:
        return f"has {len(value)} characters"
    if not _ID.fullmatch(value):
        return "has a character that is not allowed"
    if ".." in value:
        return "contains '..'"
    if value.lower().endswith(".lock"):
        return "ends in '.lock'"
    return None


def check_id(kind: str, value: str) -> str:
    """Return ``value`` if it is an id.

    Args:
        kind: "task", "pipeline", "stage" or "slot", for the message.
        value: the id.

    Raises:
        BadIdError: it is not; the error contains the reason.
    """
    problem = id_problem(value)
    if problem is not None:
        raise BadIdError(kind=kind, value=value, reason=problem)
    return value


def is_run_id(value: str) -> bool:
    """Whether ``value`` has the form of a run id."""
    return _RUN_ID.fullmatch(value) is not None


def check_run_id(value: str) -> str:
    """Return ``value`` if it has the form of a run id; raises BadIdError if not."""
    if not is_run_id(value):
        raise BadIdError(kind="run", value=value, reason="does not have the shape of a run id")
    return value


def run_id_instant(run_id: str) -> str:
    """When a run was requested, by the requester's clock, in the form of records."""
    day, _, time = run_id[: len("2025-10-31T22-56-35-120Z")].partition("T")
    hours, minutes, rest = time.split("-", 2)
    return f"{day}T{hours}:{minutes}:{rest.replace('-', '.')}"


def new_run_id(*, epoch_s: float, entropy: bytes) -> str:
    """Create a run id.

    Args:
        epoch_s: seconds since 1970, UTC; precise to the millisecond.
        entropy: 4 random bytes, the id's last 8 hex digits.
    """
    stamp = utc_text(epoch_s).replace(":", "-").replace(".", "-")
    return f"{stamp}-{entropy[:4].hex()}"

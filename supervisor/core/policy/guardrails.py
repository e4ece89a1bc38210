"""The guardrails: what is measured, its limit, and where the limit comes from.

PRD: the seed's product document. Aim: what we hold ourselves to beyond it.
"""

from collections.abc import Mapping
from typing import Any, Final

from supervisor.core.policy.task_metrics import LockCounts, Totals
from workers.records.dataclass import dataclass
from workers.records.limits import Limits

HEARTBEAT_FAILURE_RATIO: Final = 0.01  # PRD: below 1 %


@dataclass(frozen=True, slots=True, kw_only=True)
class Guardrail:
    """One row.

    Attributes:
        name: snake_case, stable.
        value: what was measured.
        limit: the largest value that is no breach, None where the value is only shown.
        source: where the limit comes from.
        strict: the value must stay below the limit, not at it.
    """

    name: str
    value: float
    limit: float | None
    source: str
    strict: bool = False

    @property
    def breached(self) -> bool:
        """Tell whether the value is beyond its limit."""
        if self.limit is None:
            return False
        return self.value >= self.limit if self.strict else self.value > self.limit

    def to_json(self) -> dict[str, Any]:
        """As metrics.json holds it."""
        return {
            "name": self.name,
            "value": self.value,
            "limit": self.limit,
            "source": self.source,
            "breached": self.breached,
        }


def measure(
    totals: Totals, lock: LockCounts, *, missed_count: int, limits: Limits
) -> tuple[Guardrail, ...]:
    """Make the table of one task.

    Args:
        totals: the task's figures.
        lock: our experience with its lock.
        missed_count: recorded runs that the snapshot on disk lacks.
        limits: the limits in force.
    """
    ratio = totals.heartbeat_failures_count / max(1, totals.heartbeat_writes_count)
    deadline_s = limits.write_deadline_s
    rows: Mapping[str, tuple[float, float | None, str]] = {
        "snapshots_missed": (missed_count, 0, "PRD: 0 in 50 concurrent runs"),
        "heartbeat_writes_failed_ratio": (ratio, HEARTBEAT_FAILURE_RATIO, "PRD: below 1 %"),
        "slowest_heartbeat_write_s": (totals.slowest_heartbeat_s, deadline_s, "PRD: 10 s"),
        "slowest_manifest_write_s": (totals.slowest_manifest_s, deadline_s, "PRD: 10 s"),
        "largest_stream_bytes": (
            totals.largest_stream_bytes,
            limits.stream_limit_bytes,
            "PRD: 64 KiB",
        ),
        "largest_error_detail_bytes": (
            totals.largest_error_detail_bytes,
            limits.error_detail_limit_bytes,
            "PRD: 8 KiB",
        ),
        "largest_error_file_bytes": (
            totals.largest_error_file_bytes,
            limits.error_file_limit_bytes,
            "PRD: 10 KB",
        ),
        "lock_attempts": (lock.attempts_count, None, "shown"),
        "lock_contended": (lock.contended_count, None, "shown"),
        "snapshots_owed": (lock.owed_count - lock.paid_count, 0, "aim: all paid"),
        "processes_left_alive": (totals.left_alive_count, 0, "aim: none"),
        "records_unparsable": (totals.bad_lines_count, 0, "aim: none"),
    }
    return tuple(
        Guardrail(name=name, value=value, limit=limit, source=source, strict="ratio" in name)
        for name, (value, limit, source) in rows.items()
    )

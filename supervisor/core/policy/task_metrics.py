"""A task's totals, folded from its history, and the guardrails: totals compared with limits.

Because totals are a fold of the history, a crash can neither lose nor double one. In ``source``,
PRD is the seed's product document, and *aim* is a limit that we set ourselves.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from typing import Any, Final

from workers.records.dataclass import dataclass
from workers.records.limits import INTEGER_LIMIT, Limits

PERCENTILES: Final = (50, 90, 99)
HEARTBEAT_FAILURE_RATIO: Final = 0.01  # PRD: below 1 %


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Sums and maxima over all finished runs of a task.

    Attributes:
        heartbeat_writes_count: attempted heartbeats; ``heartbeat_failures_count`` of them failed.
        slowest_heartbeat_s, slowest_manifest_s: the longest single write.
        largest_stream_bytes: of one captured stream on disk.
        largest_error_detail_bytes, largest_error_file_bytes: on disk.
        left_alive_count: processes still alive when the verdict was written.
        bad_lines_count: complete journal lines that did not parse.
    """

    runs: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    heartbeat_writes_count: int = 0
    heartbeat_failures_count: int = 0
    slowest_heartbeat_s: float = 0.0
    slowest_manifest_s: float = 0.0
    largest_stream_bytes: int = 0
    largest_error_detail_bytes: int = 0
    largest_error_file_bytes: int = 0
    left_alive_count: int = 0
    bad_lines_count: int = 0

    def add(self, line: Mapping[str, Any]) -> "Totals":
        """The totals with one more line of the history; a missing key counts as 0."""
        status = str(line.get("status"))

        def number(key: str) -> Any:  # noqa: ANN401 - int or float, as the key says
            value = line.get(key)
            return value if isinstance(value, int | float) else 0

        return Totals(
            runs=self.runs + 1,
            succeeded=self.succeeded + (status == "succeeded"),
            failed=self.failed + (status == "failed"),
            cancelled=self.cancelled + (status == "cancelled"),
            heartbeat_writes_count=self.heartbeat_writes_count + number("heartbeatWrites"),
            heartbeat_failures_count=self.heartbeat_failures_count + number("heartbeatFailures"),
            slowest_heartbeat_s=max(self.slowest_heartbeat_s, number("slowestHeartbeatSeconds")),
            slowest_manifest_s=max(self.slowest_manifest_s, number("slowestManifestSeconds")),
            largest_stream_bytes=max(self.largest_stream_bytes, number("largestStreamBytes")),
            largest_error_detail_bytes=max(
                self.largest_error_detail_bytes, number("largestErrorDetailBytes")
            ),
            largest_error_file_bytes=max(
                self.largest_error_file_bytes, number("largestErrorFileBytes")
            ),
            left_alive_count=self.left_alive_count + number("leftAlive"),
            bad_lines_count=self.bad_lines_count + number("badLines"),
        )

    def to_json(self) -> dict[str, Any]:
        """The fields in metrics.json."""
        return asdict(self)

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> "Totals | None":
        """Read what ``to_json`` wrote; None if it is something else."""
        values: dict[str, Any] = {f.name: data.get(f.name) for f in fields(Totals)}
        if not all(type(v) in (int, float) and 0 <= v <= INTEGER_LIMIT for v in values.values()):
            return None
        return Totals(**values)


@dataclass(frozen=True, slots=True, kw_only=True)
class LockCounts:
    """How often the supervisor tried a task's lock, and what came of it."""

    attempts_count: int = 0
    contended_count: int = 0
    owed_count: int = 0
    paid_count: int = 0

    def to_json(self) -> dict[str, int]:
        """The fields in metrics.json."""
        return asdict(self)


def percentiles(durations_s: Iterable[float]) -> dict[str, float]:
    """The nearest-rank percentiles of durations, in seconds; empty for no durations."""
    ordered = sorted(durations_s)
    if not ordered:
        return {}
    return {f"p{p}": ordered[max(0, -(-len(ordered) * p // 100) - 1)] for p in PERCENTILES}


@dataclass(frozen=True, slots=True, kw_only=True)
class Guardrail:
    """One measured value and its limit.

    Attributes:
        name: snake_case, stable.
        value: what was measured.
        limit: the largest value that is no breach, None if the value is only shown.
        source: where the limit comes from.
        strict: a value equal to the limit is a breach.
    """

    name: str
    value: float
    limit: float | None
    source: str
    strict: bool = False

    @property
    def breached(self) -> bool:
        """Whether the value exceeds its limit."""
        if self.limit is None:
            return False
        return self.value >= self.limit if self.strict else self.value > self.limit

    def to_json(self) -> dict[str, Any]:
        """The fields in metrics.json."""
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
    """The guardrails of one task.

    Args:
        totals: the task's totals.
        lock: the counts of its lock.
        missed_count: recorded runs that are missing from the snapshot on disk.
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

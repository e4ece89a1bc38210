"""A task's totals and guardrail figures, folded from its history line by line.

Because it is a fold of the history, a crash can neither lose nor double a figure.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from typing import Any, Final

from workers.records.dataclass import dataclass
from workers.records.limits import INTEGER_LIMIT

PERCENTILES: Final = (50, 90, 99)


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What all finished runs of a task add up to.

    Attributes:
        heartbeat_writes_count: beats that were tried; of them ``heartbeat_failures_count`` failed.
        slowest_heartbeat_s, slowest_manifest_s: the longest single write.
        largest_stream_bytes: of one captured stream on disk.
        largest_error_detail_bytes, largest_error_file_bytes: on disk.
        left_alive_count: processes that survived the killing when a verdict was written.
        bad_lines_count: whole lines of journals that did not parse.
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
        """The totals with one more line of the history; keys that a line lacks count nothing."""
        status = str(line.get("status"))

        def figure(key: str) -> Any:  # noqa: ANN401 - int or float, as the key says
            value = line.get(key)
            return value if isinstance(value, int | float) else 0

        return Totals(
            runs=self.runs + 1,
            succeeded=self.succeeded + (status == "succeeded"),
            failed=self.failed + (status == "failed"),
            cancelled=self.cancelled + (status == "cancelled"),
            heartbeat_writes_count=self.heartbeat_writes_count + figure("heartbeatWrites"),
            heartbeat_failures_count=self.heartbeat_failures_count + figure("heartbeatFailures"),
            slowest_heartbeat_s=max(self.slowest_heartbeat_s, figure("slowestHeartbeatSeconds")),
            slowest_manifest_s=max(self.slowest_manifest_s, figure("slowestManifestSeconds")),
            largest_stream_bytes=max(self.largest_stream_bytes, figure("largestStreamBytes")),
            largest_error_detail_bytes=max(
                self.largest_error_detail_bytes, figure("largestErrorDetailBytes")
            ),
            largest_error_file_bytes=max(
                self.largest_error_file_bytes, figure("largestErrorFileBytes")
            ),
            left_alive_count=self.left_alive_count + figure("leftAlive"),
            bad_lines_count=self.bad_lines_count + figure("badLines"),
        )

    def to_json(self) -> dict[str, Any]:
        """As metrics.json holds it."""
        return asdict(self)

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> "Totals | None":
        """Read what to_json wrote, or None where it is something else."""
        values: dict[str, Any] = {f.name: data.get(f.name) for f in fields(Totals)}
        if not all(type(v) in (int, float) and 0 <= v <= INTEGER_LIMIT for v in values.values()):
            return None
        return Totals(**values)


@dataclass(frozen=True, slots=True, kw_only=True)
class LockCounts:
    """The supervisor's own experience with a task's lock."""

    attempts_count: int = 0
    contended_count: int = 0
    owed_count: int = 0
    paid_count: int = 0

    def to_json(self) -> dict[str, int]:
        """As metrics.json holds it."""
        return asdict(self)


def percentiles(durations_s: Iterable[float]) -> dict[str, float]:
    """The nearest-rank percentiles of durations, in seconds; empty for no durations."""
    ordered = sorted(durations_s)
    if not ordered:
        return {}
    return {f"p{p}": ordered[max(0, -(-len(ordered) * p // 100) - 1)] for p in PERCENTILES}

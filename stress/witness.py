"""The guardrails of README.md, each found in two independent ways.

The first is mostly the supervisor's own figure (``metrics.json``), the second what is on disk.
Two values that disagree are a breach.
"""

from collections.abc import Sequence
from typing import Any, Final

from stress.evidence import Evidence
from stress.outside import Outside
from stress.row import Row, equal_row, number, total
from workers.records.limits import (
    HEARTBEAT_FILE_LIMIT_BYTES,
    HEARTBEAT_LINE_BYTES,
    Limits,
)

LIMITS: Final = Limits()  # the suite changes no limit: all are those of the PRD
FAILED_BEATS_RATIO: Final = 0.01  # PRD: below 1 %
CLOCKS_S: Final = 2.0  # the machine may stall between the time stamp and the write
_BEATS_PER_FILE: Final = HEARTBEAT_FILE_LIMIT_BYTES // HEARTBEAT_LINE_BYTES  # then it restarts


def find_rows(
    evidence: Evidence, outsides: Sequence[Outside], *, lock_held: bool
) -> tuple[Row, ...]:
    """Find every guardrail both ways.

    Args:
        evidence: the records after the last round.
        outsides: every round seen from outside.
        lock_held: another process held the task's lock in every round.
    """
    return (
        _missed(evidence),
        *_heartbeats(evidence),
        _manifest_write(evidence, outsides),
        *_sizes(evidence),
        *_lock(evidence, lock_held),
        _left_alive(evidence, outsides),
        equal_row(
            "records_unparsable_count",
            number(evidence.metrics, "totals", "bad_lines_count"),
            len(evidence.unparsable),
            ways=("metrics.json", "parsing every record"),
            limit=0,
            source="aim: none",
        ),
    )


def _missed(evidence: Evidence) -> Row:
    """Finished runs that the snapshot lacks, by its list and its totals."""
    shown = [line.get("runId") for line in evidence.state.get("runs") or () if line]
    runs_count = number(evidence.state, "totals", "runs") or 0
    in_history = [line.get("runId") for line in evidence.history]
    judged = [run_id for run_id, run in evidence.runs.items() if run.verdicts]
    # state.json lists the newest runs only; the totals count the others.
    room = max(len(shown), 1000)

    def missed(finished: list[Any]) -> float:
        unseen = min(len(finished), room) - len(set(finished) & set(shown))
        return max(0, unseen, len(finished) - runs_count)

    return equal_row(
        "snapshots_missed_count",
        missed(in_history),
        missed(judged),
        ways=("state.json and history", "state.json and journals with a verdict"),
        limit=0,
        source="PRD: 0 in 50 concurrent runs",
    )


def _heartbeats(evidence: Evidence) -> tuple[Row, ...]:
    totals = evidence.metrics.get("totals")
    verdicts = [verdict for run in evidence.runs.values() for verdict in run.verdicts[:1]]
    writes, failed = (
        number(totals, "heartbeat_writes_count"),
        number(totals, "heartbeat_failures_count"),
    )
    reported_ok = total(verdicts, "heartbeat", "ok")
    reported_failed = total(verdicts, "heartbeat", "failed")
    on_disk = 0
    for run in evidence.runs.values():
        ok = int(total(run.verdicts[:1], "heartbeat", "ok"))
        # The file starts again when it is full: count the overwritten files and this one.
        on_disk += len(run.beats) + max(0, ok - 1) // _BEATS_PER_FILE * _BEATS_PER_FILE
    ratio = None if writes is None or failed is None else failed / max(1, writes)
    slowest = [number(verdict, "heartbeat", "slowest_s") or 0 for verdict in verdicts]
    return (
        equal_row(
            "heartbeat_writes_count",
            writes,
            on_disk + reported_failed,
            ways=("metrics.json", "lines in .heartbeat, failures in verdicts"),
        ),
        equal_row(
            "heartbeat_writes_failed_ratio",
            ratio,
            reported_failed / max(1, reported_ok + reported_failed),
            ways=("metrics.json", "verdicts"),
            limit=FAILED_BEATS_RATIO,
            source="PRD: below 1 %",
        ),
        equal_row(
            "slowest_heartbeat_write_s",
            number(totals, "slowest_heartbeat_s"),
            max(slowest, default=0),
            ways=("metrics.json", "verdicts"),
            limit=LIMITS.write_deadline_s,
            source="PRD: 10 s",
        ),
    )


def _manifest_write(evidence: Evidence, outsides: Sequence[Outside]) -> Row:
    """The supervisor's own measurement, and the kernel's time of each manifest's rename.

    Ours is the slowest of all writes, the kernel's that of the last ones only, so it may be less.
    """
    value = number(evidence.metrics, "totals", "slowest_manifest_s")
    other = max((outside.slowest_manifest_s for outside in outsides), default=0.0)
    return Row(
        name="slowest_manifest_write_s",
        value=value,
        other=round(other, 6),
        ways=("metrics.json", "last writes: updated_at until the file's change time"),
        limit=LIMITS.write_deadline_s,
        source="PRD: 10 s",
        agree=value is not None and other <= value + CLOCKS_S,
    )


def _sizes(evidence: Evidence) -> tuple[Row, ...]:
    runs = evidence.runs.values()
    found: tuple[tuple[str, list[int], float, str, str], ...] = (
        (
            "largest_stream_bytes",
            [size for run in runs for size in run.stream_sizes],
            LIMITS.stream_limit_bytes,
            "PRD: 64 KiB",
            "size of the files in commands/",
        ),
        (
            "largest_error_detail_bytes",
            [size for run in runs for size in run.detail_sizes],
            LIMITS.error_detail_limit_bytes,
            "PRD: 8 KiB",
            "parsing every file in errors/",
        ),
        (
            "largest_error_file_bytes",
            [size for run in runs for size in run.error_sizes],
            LIMITS.error_file_limit_bytes,
            "PRD: 10 KB",
            "size of every file in errors/",
        ),
    )
    return tuple(
        equal_row(
            name,
            number(evidence.metrics, "totals", name),
            max(sizes, default=0),
            ways=("metrics.json", way),
            limit=limit,
            source=source,
        )
        for name, sizes, limit, source, way in found
    )


def _lock(evidence: Evidence, lock_held: bool) -> tuple[Row, ...]:
    """Lock tries, which the log bounds from below and above.

    It has the tries of every snapshot that became owed. All other tries wrote a state, each for a
    newly finished run or for an owed snapshot.
    """
    lock = evidence.metrics.get("lock")
    attempts, contended, owed, paid = (
        number(lock, f"{name}_count") for name in ("attempts", "contended", "owed", "paid")
    )
    owings, payments = evidence.logged("snapshot_owed"), evidence.logged("snapshot_paid")
    reported = total(owings, "attempts")
    least, writes_limit = max(1, reported + len(payments)), len(evidence.history) + len(payments)
    return (
        Row(
            name="lock_attempts_count",
            value=attempts,
            other=least,
            ways=("metrics.json", "at least, by supervisor.log"),
            agree=attempts is not None
            and contended is not None
            and least <= attempts <= contended + writes_limit,
        ),
        Row(
            name="lock_contended_count",
            value=contended,
            other=reported,
            ways=("metrics.json", "at least, by supervisor.log"),
            agree=contended is not None
            and (contended >= reported if lock_held else contended == reported),
        ),
        equal_row(
            "snapshots_owed_count",
            owed,
            len(owings),
            ways=("metrics.json", "supervisor.log"),
        ),
        equal_row(
            "snapshots_unpaid_count",
            None if owed is None or paid is None else owed - paid,
            len(owings) - len(payments) + len(evidence.markers),
            ways=("metrics.json", "supervisor.log, and markers left in accepted/"),
            limit=0,
            source="aim: all paid",
        ),
    )


def _left_alive(evidence: Evidence, outsides: Sequence[Outside]) -> Row:
    reported = [
        verdict.get("leftover_pids") or []
        for run in evidence.runs.values()
        for verdict in run.verdicts[:1]
    ]
    return equal_row(
        "processes_left_alive_count",
        sum(map(len, reported)),
        sum(len(outside.left_alive) for outside in outsides),
        ways=("verdicts", "environments in /proc"),
        limit=0,
        source="aim: none",
    )

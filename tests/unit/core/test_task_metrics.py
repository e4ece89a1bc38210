from supervisor.core.policy.task_metrics import LockCounts, Totals, measure, percentiles
from workers.records.limits import Limits

LINE = {
    "status": "failed",
    "heartbeatWrites": 10,
    "heartbeatFailures": 1,
    "slowestHeartbeatSeconds": 0.5,
    "slowestManifestSeconds": 11.0,
    "largestStreamBytes": 65_537,
    "leftAlive": 2,
}


def test_totals_fold_line_by_line_and_survive_their_json() -> None:
    totals = Totals().add(LINE).add({"status": "succeeded"})
    assert (totals.runs, totals.failed, totals.succeeded) == (2, 1, 1)
    assert Totals.from_json(totals.to_json()) == totals
    assert Totals.from_json({"runs": "2"}) is None


def test_percentiles_are_by_nearest_rank() -> None:
    assert percentiles([]) == {}
    assert percentiles([3.0]) == {"p50": 3.0, "p90": 3.0, "p99": 3.0}
    assert percentiles(float(n) for n in range(1, 101)) == {"p50": 50.0, "p90": 90.0, "p99": 99.0}


def test_each_guardrail_with_a_limit_is_breached_by_a_larger_value() -> None:
    bad = Totals().add(LINE)
    rows = {
        row.name: row
        for row in measure(bad, LockCounts(owed_count=1), missed_count=1, limits=Limits())
    }
    breached = {name for name, row in rows.items() if row.breached}
    assert breached == {
        "snapshots_missed",
        "heartbeat_writes_failed_ratio",
        "slowest_manifest_write_s",
        "largest_stream_bytes",
        "snapshots_owed",
        "processes_left_alive",
    }


def test_healthy_task_breaches_no_guardrail() -> None:
    totals = Totals().add({"status": "succeeded", "heartbeatWrites": 3})
    rows = measure(totals, LockCounts(attempts_count=1), missed_count=0, limits=Limits())
    assert not [row for row in rows if row.breached]
    assert len(rows) == 12


def test_one_percent_of_failed_heartbeats_is_a_breach_and_less_is_not() -> None:
    for failures, breached in ((1, True), (0, False)):
        line = {"status": "succeeded", "heartbeatWrites": 100, "heartbeatFailures": failures}
        rows = measure(Totals().add(line), LockCounts(), missed_count=0, limits=Limits())
        row = next(r for r in rows if r.name == "heartbeat_writes_failed_ratio")
        assert row.breached is breached

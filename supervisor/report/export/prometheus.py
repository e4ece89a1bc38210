"""Metrics in Prometheus's text format. Only this module imports prometheus_client."""

from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from supervisor.report.read.root_metrics import BUCKETS_S, LIVENESS, MODES, STATES, RootMetrics
from supervisor.version import VERSION
from workers.records.history import STATUSES
from workers.records.limits import INTEGER_LIMIT

PREFIX = "pipeline_supervisor"
_PAIR = ("task", "pipeline")


def prometheus_text(metrics: RootMetrics) -> str:
    """The metrics as a scraper reads them."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once(metrics))
    return generate_latest(registry).decode()


class _Once(Collector):
    def __init__(self, metrics: RootMetrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        """Every family, once."""
        yield from _service(self._metrics)
        yield from _finished(self._metrics)
        yield from _records(self._metrics)


def _gauge(name: str, text: str, *labels: str, value: float | None = None) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{PREFIX}_{name}", text, labels=labels or None, value=value)


def _counter(name: str, text: str, *labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(f"{PREFIX}_{name}", text, labels=labels)


def _by_value(name: str, text: str, label: str, counts: Mapping[str, int]) -> Metric:
    family = _gauge(name, text, label)
    for value, count in counts.items():
        family.add_metric([value], count)
    return family


def _service(metrics: RootMetrics) -> Iterator[Metric]:
    """The supervisor, and the runs that it has."""
    yield InfoMetricFamily(f"{PREFIX}_build", "The program.", value={"version": VERSION})
    yield _gauge("up", "1 if a supervisor serves the root.", value=metrics.up)
    if metrics.started_epoch_s is not None:
        text = "When the supervisor started, in seconds since 1970."
        yield _gauge("start_time_seconds", text, value=metrics.started_epoch_s)
    modes = {mode: int(mode == metrics.service.get("mode")) for mode in MODES}
    yield _by_value("mode", "Mode of the supervisor: 1 for the current one.", "mode", modes)
    limit = metrics.service.get("max_runs")
    if isinstance(limit, int):
        yield _gauge("max_runs", "Limit of running runs.", value=limit)
    yield _gauge("queued_runs", "Queued runs.", value=metrics.queued_count)
    states, liveness = metrics.active("state", STATES), metrics.active("liveness", LIVENESS)
    yield _by_value("active_runs", "Active runs by state.", "state", states)
    yield _by_value("active_runs_liveness", "Active runs by liveness.", "liveness", liveness)
    groups = _table(metrics.service, "groups")
    runs = _gauge("group_runs", "Runs of a concurrency group.", "group", "state")
    limits = _gauge("group_limit", "Limit of running runs of a group.", "group")
    for name, group in groups.items():
        for state in ("running", "queued"):
            runs.add_metric([_label(name), state], group.get(state) or 0)
        if isinstance(group.get("limit"), int):
            limits.add_metric([_label(name)], group["limit"])
    yield from (runs, limits) if groups else ()


def _finished(metrics: RootMetrics) -> Iterator[Metric]:
    """The finished runs, from the histories."""
    runs = _counter("runs", "Finished runs.", *_PAIR, "status")
    last = _gauge("last_run", "Status of the newest finished run: 1.", *_PAIR, "status")
    text = "When the newest run finished, in seconds since 1970."
    ended = _gauge("last_run_end_time_seconds", text, *_PAIR)
    durations = HistogramMetricFamily(
        f"{PREFIX}_run_duration_seconds", "Durations of finished runs.", labels=_PAIR
    )
    for label, item in metrics.finished.items():
        for status in STATUSES:
            runs.add_metric([*label, status], item.counts[status])
            last.add_metric([*label, status], int(item.last_status == status))
        ended.add_metric(label, item.last_epoch_s)
        bounds = [(f"{b:.1f}", n) for b, n in zip(BUCKETS_S, item.buckets, strict=True)]
        durations.add_metric(label, [*bounds, ("+Inf", item.timed_count)], sum_value=item.sum_s)
    yield from (runs, last, ended, durations)


def _records(metrics: RootMetrics) -> Iterator[Metric]:
    """The costs of records, from each task's metrics.json."""
    beats = _counter("heartbeat_writes", "Heartbeat writes of workers.", "task", "result")
    locks = _counter("lock_attempts", "Attempts to take a task's lock.", "task", "result")
    text = "Snapshots deferred by a held lock or a full disk."
    owed = _counter("snapshots_owed", text, "task")
    paid = _counter("snapshots_paid", "Deferred snapshots that were written.", "task")
    slowest = _gauge("slowest_write_seconds", "Slowest write so far.", "task", "record")
    breached = _gauge("guardrail_breached", "1 if a value exceeds its limit.", "task", "guardrail")
    for task, data in metrics.tasks.items():
        totals, lock = _table(data, "totals"), _table(data, "lock")
        failed = _number(totals, "heartbeat_failures_count")
        beats.add_metric([task, "ok"], _number(totals, "heartbeat_writes_count") - failed)
        beats.add_metric([task, "failed"], failed)
        contended = _number(lock, "contended_count")
        locks.add_metric([task, "taken"], _number(lock, "attempts_count") - contended)
        locks.add_metric([task, "contended"], contended)
        owed.add_metric([task], _number(lock, "owed_count"))
        paid.add_metric([task], _number(lock, "paid_count"))
        for record in ("heartbeat", "manifest"):
            slowest.add_metric([task, record], _number(totals, f"slowest_{record}_s"))
        rows = data.get("guardrails")
        for row in rows if isinstance(rows, list) else ():
            if isinstance(row, dict):
                name, is_breached = _label(row.get("name")), row.get("breached") is True
                breached.add_metric([task, name], int(is_breached))
    yield from (beats, locks, owed, paid, slowest, breached)


def _table(data: Mapping[str, Any], key: str) -> dict[str, Any]:
    table = data.get(key)
    return table if isinstance(table, dict) else {}


def _number(data: Mapping[str, Any], key: str) -> float:
    value = data.get(key)
    if not isinstance(value, int | float) or isinstance(value, bool):
        return 0.0
    return value if abs(value) <= INTEGER_LIMIT else 0.0


def _label(text: object) -> str:
    """Text of a record as a label; labels must be UTF-8."""
    return str(text).encode("utf-8", "backslashreplace").decode()

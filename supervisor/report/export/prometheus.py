"""Figures in Prometheus's text format. The one place that imports prometheus_client."""

from collections.abc import Iterator
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


def prometheus_text(figures: RootMetrics) -> str:
    """Figures as a scraper reads them."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once(figures))
    return generate_latest(registry).decode()


class _Once(Collector):
    def __init__(self, figures: RootMetrics) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        """Every family, once."""
        yield from _service(self._figures)
        yield from _finished(self._figures)
        yield from _records(self._figures)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"{PREFIX}_{name}", text, value=value)


def _one_of(name: str, text: str, label: str, counts: dict[str, int]) -> Metric:
    family = GaugeMetricFamily(f"{PREFIX}_{name}", text, labels=[label])
    for word, count in counts.items():
        family.add_metric([word], count)
    return family


def _service(figures: RootMetrics) -> Iterator[Metric]:
    yield InfoMetricFamily(f"{PREFIX}_build", "The program.", value={"version": VERSION})
    yield _gauge("up", "1 while a supervisor serves the root.", figures.up)
    if figures.started_epoch_s is not None:
        text = "When it began, in seconds since 1970."
        yield _gauge("start_time_seconds", text, figures.started_epoch_s)
    mode = figures.service.get("mode")
    yield _one_of(
        "mode", "What it does; one is 1.", "mode", {word: int(word == mode) for word in MODES}
    )
    limit = figures.service.get("max_runs")
    if isinstance(limit, int):
        yield _gauge("max_runs", "Runs at once, at most.", limit)
    yield _gauge("queued_runs", "Accepted runs that wait.", figures.queued_count)
    states = figures.active("state", STATES)
    yield _one_of("active_runs", "Runs under way, by their state.", "state", states)
    words = figures.active("liveness", LIVENESS)
    yield _one_of("active_runs_liveness", "Runs under way, by their beat.", "liveness", words)
    groups = figures.service.get("groups")
    yield from _groups(groups if isinstance(groups, dict) else {})


def _groups(groups: dict[str, Any]) -> Iterator[Metric]:
    runs = GaugeMetricFamily(
        f"{PREFIX}_group_runs", "Runs of a concurrency group.", labels=["group", "state"]
    )
    limits = GaugeMetricFamily(
        f"{PREFIX}_group_limit", "Runs of a group at once, at most.", labels=["group"]
    )
    for name, told in groups.items():
        for state in ("running", "queued"):
            runs.add_metric([_label(name), state], told.get(state) or 0)
        if isinstance(told.get("limit"), int):
            limits.add_metric([_label(name)], told["limit"])
    if groups:
        yield runs
        yield limits


def _finished(figures: RootMetrics) -> Iterator[Metric]:
    runs = CounterMetricFamily(f"{PREFIX}_runs", "Runs that have ended.", labels=[*_PAIR, "status"])
    last = GaugeMetricFamily(
        f"{PREFIX}_last_run", "How the newest run ended; one is 1.", labels=[*_PAIR, "status"]
    )
    when = GaugeMetricFamily(
        f"{PREFIX}_last_run_end_time_seconds", "When, in seconds since 1970.", labels=_PAIR
    )
    took = HistogramMetricFamily(
        f"{PREFIX}_run_duration_seconds", "How long runs took.", labels=_PAIR
    )
    for label, item in figures.finished.items():
        for status in STATUSES:
            runs.add_metric([*label, status], item.counts[status])
            last.add_metric([*label, status], int(item.last_status == status))
        when.add_metric(label, item.last_epoch_s)
        bounds = [(f"{b:.1f}", n) for b, n in zip(BUCKETS_S, item.buckets, strict=True)]
        took.add_metric(label, [*bounds, ("+Inf", item.timed_count)], sum_value=item.sum_s)
    yield from (runs, last, when, took)


def _records(figures: RootMetrics) -> Iterator[Metric]:
    """What each task's metrics.json tells of its records."""
    beats = CounterMetricFamily(
        f"{PREFIX}_heartbeat_writes", "Beats of workers.", labels=["task", "result"]
    )
    locks = CounterMetricFamily(
        f"{PREFIX}_lock_attempts", "Tries at a task's lock.", labels=["task", "result"]
    )
    owed = CounterMetricFamily(
        f"{PREFIX}_snapshots_owed",
        "Snapshots that a held lock or the disk refused.",
        labels=["task"],
    )
    paid = CounterMetricFamily(
        f"{PREFIX}_snapshots_paid", "Owed snapshots that were written.", labels=["task"]
    )
    slow = GaugeMetricFamily(
        f"{PREFIX}_slowest_write_seconds", "The slowest so far.", labels=["task", "record"]
    )
    breach = GaugeMetricFamily(
        f"{PREFIX}_guardrail_breached", "1 beyond its limit.", labels=["task", "guardrail"]
    )
    for task, told in figures.tasks.items():
        totals, lock = _table(told, "totals"), _table(told, "lock")
        failed = _number(totals, "heartbeat_failures_count")
        beats.add_metric([task, "ok"], _number(totals, "heartbeat_writes_count") - failed)
        beats.add_metric([task, "failed"], failed)
        contended = _number(lock, "contended_count")
        locks.add_metric([task, "taken"], _number(lock, "attempts_count") - contended)
        locks.add_metric([task, "contended"], contended)
        owed.add_metric([task], _number(lock, "owed_count"))
        paid.add_metric([task], _number(lock, "paid_count"))
        for record in ("heartbeat", "manifest"):
            slow.add_metric([task, record], _number(totals, f"slowest_{record}_s"))
        rows = told.get("guardrails")
        for row in rows if isinstance(rows, list) else ():
            if isinstance(row, dict):
                breach.add_metric([task, _label(row.get("name"))], int(row.get("breached") is True))
    yield from (beats, locks, owed, paid, slow, breach)


def _table(told: Any, key: str) -> dict[str, Any]:  # noqa: ANN401 - a record
    found = told.get(key)
    return found if isinstance(found, dict) else {}


def _number(told: dict[str, Any], key: str) -> float:
    value = told.get(key)
    if not isinstance(value, int | float) or isinstance(value, bool):
        return 0.0
    return value if abs(value) <= INTEGER_LIMIT else 0.0


def _label(text: object) -> str:
    """Text of a record as a label, which must be UTF-8."""
    return str(text).encode("utf-8", "backslashreplace").decode()

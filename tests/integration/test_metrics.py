"""Metrics count what happened, in a format that Prometheus's own parser accepts."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from supervisor.report.export.prometheus import prometheus_text
from supervisor.report.read import root_metrics
from supervisor.report.read.root_metrics import BUCKETS_S, LABELS_LIMIT_COUNT, RootMetricsReader
from tests.root import Root, wait_until

PIPELINES = """
[pipelines.good]
stages = [{ id = "s", command = "true" }]
[pipelines.bad]
stages = [{ id = "s", command = "exit 3" }]
[pipelines.wait]
stages = [{ id = "s", command = "while ! test -e $SUPERVISED_ROOT/go; do sleep 0.05; done" }]
"""


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    found = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation, family.name
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found, "a series is there twice"
            found[key] = sample.value
    return found


def value(text: str, name: str, **labels: str) -> float | None:
    return samples(text).get((f"pipeline_supervisor_{name}", frozenset(labels.items())))


def test_metrics_count_what_happened(root: Root) -> None:
    root.configure(PIPELINES)
    root.call("start", "--once", "good", "good", "bad")
    root.call("start", "--once", "good", "--task", "nightly")
    root.call("submit", "good")
    done = root.call("metrics")
    assert (done.code, done.err) == (0, "")
    text = done.out
    assert value(text, "up") == 0
    assert value(text, "queued_runs") == 1
    about = {"task": "default", "pipeline": "good"}
    assert value(text, "runs_total", **about, status="succeeded") == 2
    assert value(text, "runs_total", task="default", pipeline="bad", status="failed") == 1
    assert value(text, "runs_total", task="nightly", pipeline="good", status="succeeded") == 1
    assert value(text, "last_run", task="default", pipeline="bad", status="failed") == 1
    assert value(text, "last_run", task="default", pipeline="bad", status="succeeded") == 0
    assert value(text, "run_duration_seconds_count", **about) == 2
    assert value(text, "run_duration_seconds_bucket", **about, le="+Inf") == 2
    assert value(text, "heartbeat_writes_total", task="default", result="failed") == 0
    assert (value(text, "heartbeat_writes_total", task="default", result="ok") or 0) >= 3
    assert value(text, "snapshots_owed_total", task="default") == 0
    assert value(text, "guardrail_breached", task="default", guardrail="snapshots_missed") == 0
    told = root.call("metrics", "--json").json()
    assert told["schema"] == "pipeline-supervisor/metrics-report/1"
    assert {(f["task_id"], f["pipeline_id"], f["failed"]) for f in told["finished"]} == {
        ("default", "good", 0),
        ("default", "bad", 1),
        ("nightly", "good", 0),
    }


def test_live_supervisor_writes_the_same_metrics_to_its_file(root: Root, tmp_path: Path) -> None:
    path = tmp_path / "collector" / "ours.prom"
    path.parent.mkdir()
    root.configure(PIPELINES, settings=f'metrics_textfile = "{path}"\nmax_runs = 1')
    server = root.serving()
    root.call("submit", "wait")
    root.call("submit", "good")

    def shown(name: str, **labels: str) -> Any:
        return value(path.read_text(), name, **labels) if path.exists() else None

    wait_until(lambda: shown("active_runs", state="running") == 1, "one is told to run")
    assert shown("up") == 1
    assert shown("mode", mode="serving") == 1
    assert shown("max_runs") == 1
    assert shown("queued_runs") == 1
    assert abs(shown("start_time_seconds") - path.stat().st_mtime) < 60
    assert path.stat().st_mode & 0o777 == 0o644
    root.write("go", "")
    labels = {"task": "default", "pipeline": "good", "status": "succeeded"}
    wait_until(lambda: shown("runs_total", **labels) == 1, "its end is told")
    root.call("stop")
    root.finish(server)
    assert shown("up") == 0
    assert os.listdir(path.parent) == ["ours.prom"]


def test_unwritable_metrics_file_costs_only_a_log_line(root: Root) -> None:
    root.configure(PIPELINES, settings='metrics_textfile = "/nowhere/ours.prom"')
    assert root.call("start", "--once", "good").code == 0
    assert [line["why"] for line in root.log() if line["event"] == "metrics_textfile_refused"]
    root.check_settled(count=1)


@pytest.mark.fault("F18")
def test_temporary_file_of_a_dead_writer_is_deleted(root: Root, tmp_path: Path) -> None:
    path = tmp_path / "figures.prom"
    root.configure(PIPELINES, f'metrics_textfile = "{path}"\n')
    left, other = (tmp_path / f".{name}.999999999-1-1.tmp" for name in ("figures.prom", "other"))
    left.write_text("half")
    other.write_text("half")
    assert root.call("start", "--once", "good").code == 0
    assert path.exists()
    assert other.exists()
    assert not left.exists()


def test_metrics_file_is_relative_to_the_configuration(root: Root) -> None:
    root.configure(PIPELINES, settings='metrics_textfile = "ours.prom"')
    assert root.call("start", "--once", "good").code == 0
    assert value((root.path / "config/ours.prom").read_text(), "up") == 0


def test_second_read_reads_only_new_lines(root: Root) -> None:
    root.configure(PIPELINES)
    root.call("start", "--once", "good")
    reader = RootMetricsReader(root.layout)
    assert reader.read().finished["default", "good"].counts["succeeded"] == 1
    assert reader.read().finished["default", "good"].counts["succeeded"] == 1
    root.call("start", "--once", "good", "bad")
    found = reader.read().finished
    assert found["default", "good"].counts["succeeded"] == 2
    assert found["default", "bad"].counts["failed"] == 1
    assert found["default", "bad"].buckets == [1] * len(BUCKETS_S)


def test_invented_names_are_counted_as_other(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(root_metrics, "LABELS_LIMIT_COUNT", 3)
    root.configure(PIPELINES)
    root.call("start", "--once", "good")
    (line,) = root.history()
    path = root.path / "out/default/history.ndjson"
    with path.open("a") as file:
        for number in range(LABELS_LIMIT_COUNT):
            file.write(json.dumps({**line, "pipelineId": f"p{number}"}) + "\n")
    found = RootMetricsReader(root.layout).read().finished
    assert len(found) == 4
    assert found["other", "other"].counts["succeeded"] == LABELS_LIMIT_COUNT - 2
    assert samples(prometheus_text(RootMetricsReader(root.layout).read()))


@pytest.mark.parametrize("text", ["", "[]", '{"totals": 3, "lock": null, "guardrails": [1]}'])
def test_damaged_records_do_not_break_readers(root: Root, text: str) -> None:
    root.configure(PIPELINES)
    root.call("start", "--once", "good")
    root.write(".runs/default/metrics.json", text)
    root.write(".runs/.supervisor/status.json", text)
    with (root.path / "out/default/history.ndjson").open("a") as file:
        file.write('{"runId": 3}\nnot json\n{"status": "succeeded", "durationSeconds": "x"}\n')
    done = root.call("metrics")
    assert (done.code, done.err) == (0, "")
    assert samples(done.out)

"""Every view of a run shows the same status, reason, times and stages."""

import json
import os
import re
import signal
from typing import Any

import pytest

from supervisor.report.text.output import duration
from tests.holding import worker_of
from tests.root import Root, wait_until

HOLD = "echo >> begun; while ! test -e go; do sleep 0.02; done"
PIPELINES = f"""
[pipelines.good]
stages = [{{ id = "s", command = "true" }}]
[pipelines.bad]
stages = [
    {{ id = "a", command = "true" }},
    {{ id = "s", command = "echo no >&2; exit 3" }},
    {{ id = "z", command = "true" }},
]
[pipelines.hold]
stages = [{{ id = "s", command = "{HOLD}" }}]
[pipelines.kid]
stages = [{{ id = "k", command = "exit 1" }}]
[pipelines.parent]
stages = [
    {{ id = "c", pipeline = "kid", allow_failure = true }},
    {{ id = "t", command = ["/no/such"], allow_failure = true }},
]
[pipelines.tries]
stages = [{{ id = "s", command = "test $SUPERVISED_TRY = 2", retries = {{ attempts = 3, delay_s = 0.1 }} }}]
[pipelines.slow]
stages = [{{ id = "s", command = "sleep 60", timeout_s = 0.1 }}]
"""  # noqa: E501 - one table a line
STARTED = {"good", "bad", "parent", "kid", "tries", "slow", "hold", "lost", "retry"}


def made(root: Root) -> dict[str, str]:
    """Run one of each kind to its end; the run ids by kind."""
    root.configure(PIPELINES, "max_runs = 2")
    process = root.popen("start", "--json")
    wait_until((root.path / ".runs/.supervisor/status.json").exists, "the supervisor serves")

    def submit(*words: str) -> str:
        return root.call("submit", *words).out.strip()

    runs = {name: submit(name) for name in ("good", "bad", "parent", "tries", "slow")}
    assert root.call("wait", *runs.values()).code == 10
    runs["lost"], runs["hold"] = submit("hold"), submit("hold")
    begun = root.path / "begun"
    wait_until(lambda: begun.exists() and begun.read_text().count("\n") == 2, "both run")
    runs["queued"] = submit("good")
    runs["after"] = submit("--after", runs["lost"], "good")
    wait_until(lambda: len(os.listdir(root.layout.accepted)) == 4, "all are accepted")
    assert root.call("cancel", runs["queued"]).code == 0
    assert root.call("cancel", runs["hold"]).code == 0
    os.kill(worker_of(runs["lost"]), signal.SIGKILL)
    assert root.call("wait", runs["lost"], runs["after"]).code == 12
    runs["retry"] = root.call("retry", runs["bad"]).out.strip()
    assert root.call("wait", runs["retry"]).code == 10
    assert root.call("stop").code == 0
    said = [json.loads(line) for line in root.finish(process).out.splitlines()]
    root.write("said", json.dumps(said))
    (runs["kid"],) = [one["run_id"] for one in said if one.get("parent_run_id")]
    return runs


def of_record(root: Root, run_id: str) -> dict[str, Any]:
    """What the manifest has and the other views must show."""
    manifest = root.call("show", run_id, "--json").json()["manifest"]
    about = manifest["extensions"]
    return {
        "status": manifest["status"],
        "detail": manifest["status_detail"],
        "reason": about["reason"],
        "started": None if about["worker"] is None else manifest["started_at"],
        "duration": duration(about["duration_s"]),
        "stages": [(c["id"], c["status"], c["summary"]) for c in manifest["commands"]],
    }


def of_row(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "status": row["status"],
        "detail": row["note"],
        "started": row["started_at"],
        "duration": duration(row["duration_s"]),
    }


def of_stages(row: dict[str, Any]) -> dict[str, Any]:
    stages = [(s["id"], s["status"], s["summary"]) for s in row["stages"]]
    return {"reason": row["reason"], "stages": stages}


def of_show(text: str) -> dict[str, Any]:
    head, _, rest = text.partition("\n\n")
    facts = dict(re.findall(r"^(\w+) +(.*)$", head, re.MULTILINE))
    status, _, detail = facts["status"].partition(" (")
    table = [re.split(r" {2,}", line) for line in rest.split("\n\n")[0].splitlines()[1:]]
    return {
        "status": status,
        "detail": detail.removesuffix(")") or None,
        "reason": facts.get("reason"),
        "started": None if facts["started"] == "-" else facts["started"],
        "duration": facts["time"],
        "stages": [(c[1], c[2], c[5] if len(c) > 5 else None) for c in table],
        "stage_times": [c[3] for c in table],
    }


def of_tree(text: str) -> dict[str, Any]:
    first, *rest = text.splitlines()
    _, status, lasted, *_ = first.split()
    own = [line.split() for line in rest if line.startswith(("|- ", "`- "))]
    return {
        "status": status,
        "duration": lasted,
        "stages": [(c[1], c[2]) for c in own],
        "stage_times": [c[3] for c in own],
    }


@pytest.mark.fault("P40")
def test_every_view_of_a_run_shows_the_same(root: Root) -> None:
    runs = made(root)
    rows = {row["run_id"]: row for row in root.call("status", "--json").json()["runs"]}
    said = {one.get("run_id"): one for one in json.loads((root.path / "said").read_text())}
    history = {line["runId"]: line for line in root.history()}
    for kind, run_id in runs.items():
        record = of_record(root, run_id)
        assert (record["started"] is not None) == (kind in STARTED), kind
        (one,) = root.call("status", run_id, "--json").json()["runs"]
        shown = of_show(root.call("show", run_id).out)
        for view in (of_row(rows[run_id]), of_row(one) | of_stages(one), shown):
            common = record.keys() & view.keys()
            assert {k: view[k] for k in common} == {k: record[k] for k in common}, kind
        assert {k: v for k, v in one.items() if k in rows[run_id]} == rows[run_id]

        text = root.call("status", run_id).out
        tree = of_tree(text)
        assert (tree["status"], tree["duration"]) == (record["status"], record["duration"])
        assert tree["stages"] == [stage[:2] for stage in record["stages"]]
        assert tree["stage_times"] == shown["stage_times"]
        assert all(word in text for word in (record["detail"], record["reason"]) if word)

        timing = root.call("show", run_id, "--timing", "--json").json()
        times = [stage["duration_s"] for stage in timing["stages"]]
        assert times == [stage["duration_s"] for stage in one["stages"]]
        assert [duration(time) for time in times] == shown["stage_times"]

        end = (record["status"], record["detail"])
        waited, told = root.call("wait", run_id, "--json").json(), said[run_id]
        line = history[run_id]
        assert (timing["status"], waited["status_detail"]) == end
        assert (waited["status"], waited["status_detail"]) == end
        assert (told["status"], told["status_detail"], told["reason"]) == (*end, record["reason"])
        assert (line["status"], line["statusDetail"]) == end
        assert duration(told["duration_s"]) == record["duration"]
        assert duration(line["durationSeconds"]) == record["duration"]

        page = " ".join(re.sub("<[^>]*>", " ", root.call("report", run_id, "-o", "-").out).split())
        assert f" time {record['duration']} " in page
        assert f" started {record['started'] or '-'} " in page
        for (stage, status, _), lasted in zip(record["stages"], shown["stage_times"], strict=True):
            assert f" {stage} {status} {lasted} " in page

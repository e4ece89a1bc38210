"""A program that was written for the origin's records reads ours: it knows nothing of ours.

It stands here as its authors would have written it: it takes every field for granted, refuses words
that it does not know, and follows the paths that it is told.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.root import Root, wait_until

READER = """
import datetime, json, pathlib, sys

root = pathlib.Path(sys.argv[1])
RUN = {"queued", "in_progress", "succeeded", "failed", "cancelled"}
COMMAND = {"pending", "running", "succeeded", "failed", "skipped"}


def instant(text):
    return datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ")


def file_of(path):
    assert not path.startswith("/") and (root / path).exists(), path
    return root / path


def read(path):
    m = json.loads(path.read_text())
    assert m["version"] == 1 and m["status"] in RUN
    assert file_of(m["artifact_root"]) == path.parent == file_of(m["compat_path"])
    file_of(m["log_path"])
    began, updated = instant(m["started_at"]), instant(m["updated_at"])
    if m["completed_at"] is not None:
        assert instant(m["completed_at"]) >= began
    stale = False
    if m["status"] == "in_progress":
        age = (updated - instant(m["heartbeat_at"])).total_seconds()
        stale = age > m["heartbeat_stale_after_seconds"] + m["heartbeat_interval_seconds"]
    commands = []
    for number, c in enumerate(m["commands"], 1):
        assert c["index"] == number and c["status"] in COMMAND
        assert c["kind"] in ("command", "subpipeline")
        assert len(c["summary"] or "") <= 240
        if c["log_path"] is not None:
            file_of(c["log_path"])
        if c["error_file"] is not None:
            error = json.loads(file_of(c["error_file"]).read_text())
            assert error["run_id"] == m["run_id"] and error["command_index"] == number
            assert error["details"]["exit_code"] == c["exit_code"]
        commands.append(f"{c['id']}={c['status']}")
    for child in m["child_runs"]:
        below = json.loads(file_of(child["manifest"]).read_text())
        assert below["run_id"] == child["run_id"] and below["parent_run_id"] == m["run_id"]
        assert below["status"] == child["status"] and below["pipeline_id"] == child["pipeline_id"]
    for event in m["resume_events"]:
        assert event["outcome"] in ("accepted", "blocked")
    assert m["approvals"] == [] and m["instructions_sources"] == []
    word = m["status"] + (f" ({m['status_detail']})" if m["status_detail"] else "")
    return [m["pipeline_id"], word + (" stale" if stale else ""), " ".join(commands)]


paths = sorted(root.glob(".runs/*/cli/*/manifest.json"))
print(json.dumps(sorted(read(path) for path in paths)))
for task in {path.parts[-4] for path in paths if (root / "out" / path.parts[-4]).exists()}:
    state = json.loads((root / "out" / task / "state.json").read_text())
    assert state["taskId"] == task
    stamps = [run["timestamp"] for run in state["runs"]]
    assert stamps == sorted(stamps) and state["lastRunAt"] == stamps[-1]
    for run in state["runs"]:
        told = json.loads(file_of(run["manifest"]).read_text())
        assert (told["run_id"], told["status"]) == (run["runId"], run["status"])
"""

PIPELINES = """
[pipelines.good]
stages = [{ id = "s", command = "echo x" }]
[pipelines.bad]
stages = [{ id = "s", command = "echo why >&2; exit 3" }, { id = "t", command = "true" }]
[pipelines.parent]
stages = [{ id = "kid", pipeline = "good" }, { id = "bad", pipeline = "bad", optional = true }]
[pipelines.wait]
stages = [{ id = "s", command = "while ! test -e go; do sleep 0.05; done" }]
"""

ORIGIN = {
    "defaultPipeline": "diag",
    "stageSets": {"gates": [{"kind": "command", "id": "build", "command": "echo $MODE"}]},
    "pipelines": [
        {
            "id": "diag",
            "title": "Diagnostics",
            "guardrailsRequired": True,
            "stages": [
                {"kind": "stage-set", "ref": "gates"},
                {"kind": "command", "id": "lint", "command": "exit 1", "allowFailure": True},
                {"kind": "command", "id": "env", "command": "echo $MODE", "env": {"MODE": "ci"}},
                {"kind": "subpipeline", "id": "sub", "pipeline": "small", "optional": True},
            ],
        },
        {"id": "small", "stages": [{"kind": "command", "id": "s", "command": "true"}]},
    ],
}


def read(root: Root) -> list[list[str]]:
    words = [sys.executable, "-I", "-c", READER, str(root.path)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    found: list[list[str]] = json.loads(done.stdout)
    return found


@pytest.mark.fault("C16")
def test_it_reads_every_ending(root: Root) -> None:
    root.configure(PIPELINES)
    assert root.call("start", "--once", "good", "bad", "parent").code == 10
    process = root.popen("start", "--once", "wait")
    wait_until(lambda: any("in_progress" in row[1] for row in read(root)), "it is told to run")
    root.call("cancel", "latest")
    assert root.finish(process).code == 11
    rows = read(root)
    assert ["wait", "cancelled (cancelled-by-user)"] in [row[:2] for row in rows]
    assert ["good", "succeeded", "s=succeeded"] in rows
    assert ["bad", "failed (stage:s:failed)", "s=failed t=pending"] in rows
    assert ["parent", "succeeded", "kid=succeeded bad=skipped"] in rows


def test_the_origins_configuration_runs_as_it_is_written(root: Root) -> None:
    (root.path / "config/supervisor.toml").unlink()
    root.write("codex.orchestrator.json", json.dumps(ORIGIN))
    checked = root.call("validate")
    assert checked.code == 0
    assert "guardrailsRequired" in checked.err, "what is not ours is named"
    assert root.call("start", "--once", "diag", env={"MODE": "outer"}).code == 0
    stages = "build=succeeded lint=skipped env=succeeded sub=succeeded"
    assert ["diag", "succeeded", stages] in read(root)
    logs = sorted(Path(root.path).glob(".runs/*/cli/*/commands/*.stdout.log"))
    said = {path.name.split(".")[0]: path.read_text() for path in logs}
    assert (said["01-build"], said["03-env"]) == ("outer\n", "ci\n")

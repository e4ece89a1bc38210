"""Every manifest has every field of the contract with its type, in every state of a run's life."""

import itertools
import json
import os
import signal
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from supervisor.report.schemas import schema_text
from tests.root import Root, alive, wait_until
from workers.records.clock import epoch_of

SCHEMA = json.loads(schema_text("manifest"))
VALIDATOR = Draft202012Validator(SCHEMA)

PIPELINES = """
[pipelines.good]
stages = [{ id = "s", command = "echo x; echo y >&2", summary_hint = "fine" }]
[pipelines.bad]
stages = [{ id = "s", command = "exit 3" }, { id = "t", command = "true" }]
[pipelines.signal]
stages = [{ id = "s", command = "kill -9 $$" }]
[pipelines.late]
timeout_s = 0.3
stages = [{ id = "s", command = "sleep 60" }]
[pipelines.parent]
stages = [{ id = "kid", pipeline = "good" }, { id = "bad", pipeline = "bad", optional = true }]
[pipelines.wait]
stages = [{ id = "s", command = "while ! test -e go; do sleep 0.05; done" }]
"""


def check(manifest: dict[str, Any]) -> None:
    errors = [f"{list(e.path)}: {e.message}" for e in VALIDATOR.iter_errors(manifest)]
    assert not errors, errors
    final = manifest["status"] in ("succeeded", "failed", "cancelled")
    assert (manifest["completed_at"] is not None) == final
    assert manifest["metrics_recorded"] == final
    if final:
        assert manifest["completed_at"] >= manifest["started_at"]
    assert [c["index"] for c in manifest["commands"]] == list(
        range(1, len(manifest["commands"]) + 1)
    )


def test_the_schema_itself_is_one_and_can_fail() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert list(VALIDATOR.iter_errors({"version": 1}))


def test_every_ending_leaves_a_manifest_of_the_contract(root: Root) -> None:
    root.configure(PIPELINES)
    names = ("good", "bad", "signal", "late", "parent")
    assert root.call("start", "--once", *names).code == 10
    manifests = root.manifests()
    assert len(manifests) == 7
    for manifest in manifests:
        check(manifest)
        shown = root.call("show", manifest["run_id"], "--json").json()["manifest"]
        assert shown == manifest
    details = {m["pipeline_id"]: m["status_detail"] for m in manifests if not m["parent_run_id"]}
    assert details == {
        "good": None,
        "bad": "stage:s:failed",
        "signal": "stage:s:failed",
        "late": "timed-out",
        "parent": None,
    }
    for path in (root.path / ".runs").glob("*/cli/*/errors/*.json"):
        error = json.loads(path.read_text())
        for key in ("run_id", "task_id", "command_index", "command_id", "command", "reason"):
            assert key in error


def test_queued_running_lost_and_cancelled_runs_have_manifests_of_the_contract(
    root: Root,
) -> None:
    root.configure(PIPELINES, settings="max_runs = 2")
    process = root.popen("start", "--once", "wait", "wait", "wait")
    wait_until(lambda: len(root.running()) == 2, "two run")
    wait_until(
        lambda: (
            sorted(m["status"] for m in root.manifests())
            == ["in_progress", "in_progress", "queued"]
        ),
        "two run and one is queued",
    )
    for manifest in root.manifests():
        check(manifest)
        check(root.call("show", manifest["run_id"], "--json").json()["manifest"])
    running = [m["run_id"] for m in root.manifests() if m["status"] == "in_progress"]
    (worker,) = alive(f"cli/{running[0]}\0--owner-fd")
    os.kill(worker, signal.SIGKILL)
    assert root.call("cancel", running[1]).code == 0
    root.write("go", "")
    assert root.finish(process).code == 12
    for manifest in root.manifests():
        check(manifest)
    endings = sorted(str(m["status_detail"]) for m in root.manifests())
    assert endings == ["None", "cancelled-by-user", "worker-lost"]
    root.check_settled(count=3)


@pytest.mark.parametrize("words", [("status", "--json"), ("wait", "latest", "--json")])
def test_json_is_one_object_with_a_schema_name(root: Root, words: tuple[str, ...]) -> None:
    root.configure(PIPELINES)
    root.call("start", "--once", "good")
    done = root.call(*words)
    assert done.json()["schema"].startswith("pipeline-supervisor/")
    assert done.err == ""


def test_the_manifest_is_throttled_while_a_stage_runs(root: Root) -> None:
    root.configure(
        '[pipelines.slow]\nstages = [{ id = "s", command = "sleep 2.3" }]\n',
        settings="",
    )
    text = (root.path / "config/supervisor.toml").read_text()
    root.write("config/supervisor.toml", text.replace("_throttle_s = 0.5", "_throttle_s = 1.6"))
    process = root.popen("start", "--once", "slow")
    wait_until(lambda: root.stages(), "the stage runs")
    (manifest,) = (root.path / ".runs").glob("*/cli/*/manifest.json")
    wait_until(lambda: json.loads(manifest.read_text())["status"] == "in_progress", "it is told")
    versions: dict[str, object] = {}
    while process.poll() is None:
        found = json.loads(manifest.read_text())
        if found["status"] == "in_progress":
            versions[found["updated_at"]] = [stage["status"] for stage in found["commands"]]
    for (before, told), (after, then) in itertools.pairwise(sorted(versions.items())):
        if told == then:
            assert epoch_of(after) - epoch_of(before) > 1.5, "a beat alone waits for the throttle"
    beats = manifest.with_name(".heartbeat").read_text().splitlines()
    assert len(beats) > 10

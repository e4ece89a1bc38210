"""What must hold at full values: real beats, real throttle, fifty at once. For `.ci/long`."""

import fcntl
import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from tests.root import Root, alive, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def plain(root: Root, pipelines: str) -> None:
    """The defaults, untouched."""
    root.write("config/supervisor.toml", pipelines)


def test_a_41_s_stage_beats_every_5_s_and_its_manifest_is_written_at_most_twice(
    root: Root,
) -> None:
    plain(root, '[pipelines.slow]\nstages = [{ id = "s", command = "sleep 41" }]\n')
    process = root.popen("start", "--once", "slow")
    wait_until(lambda: root.stages(), "the stage runs")
    (path,) = (root.path / ".runs").glob("*/cli/*/manifest.json")
    beats = path.with_name(".heartbeat")
    wait_until(lambda: json.loads(path.read_text())["status"] == "in_progress", "it is told")
    with (root.path / "followed").open("wb") as followed:
        tail = subprocess.Popen(["tail", "-n", "+1", "-f", str(beats)], stdout=followed)
        versions = set()
        while process.poll() is None:
            manifest = json.loads(path.read_text())
            if manifest["status"] == "in_progress":
                versions.add(manifest["updated_at"])
            time.sleep(0.02)
        wait_until(
            lambda: (root.path / "followed").read_bytes() == beats.read_bytes(),
            "tail -f printed every beat",
        )
        tail.terminate()
        tail.wait()
    assert root.finish(process).code == 0
    assert len(versions) <= 3, "the stage's start itself, and at most two writes until its end"
    lines = beats.read_text().splitlines()
    assert 8 <= len(lines) <= 10


def test_a_lock_held_for_60_s_costs_no_snapshot(root: Root) -> None:
    plain(root, '[pipelines.p]\nstages = [{ id = "s", command = "true" }]\n')
    root.write("batch.toml", '[[runs]]\npipeline = "p"\ncount = 50\n')
    path = Path(root.layout.state_lock("default"))
    path.parent.mkdir(mode=0o700)
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX)
    released = time.monotonic() + 60
    process = root.popen("start", "--once", "--batch", "batch.toml")

    def owed() -> int:
        return sum(
            any(w["code"] == "snapshot_owed" for w in m["extensions"]["warnings"])
            for m in root.manifests()
        )

    wait_until(lambda: owed() == 50, "every manifest is terminal and says what is owed", 30)
    while time.monotonic() < released:
        time.sleep(0.5)
    os.close(fd)
    assert root.finish(process).code == 0
    assert owed() == 0
    root.check_settled(count=50)


def test_fifty_runs_at_once_with_no_supervisor_up_are_all_in_the_state(root: Root) -> None:
    plain(root, "")
    processes = [root.popen("run", "--", "true") for _ in range(50)]
    assert [root.finish(process).code for process in processes] == [0] * 50
    wait_until(lambda: not alive(f"--root\0{root.path}"), "the helper leaves")
    root.check_settled(count=50)


@pytest.mark.fault("V1")
@pytest.mark.parametrize("command", ["true", "sleep 2", "while ! test -e go; do sleep 0.05; done"])
def test_fifty_runs_in_one_task_twenty_times_over_miss_nothing(root: Root, command: str) -> None:
    plain(root, f'[pipelines.p]\nstages = [{{ id = "s", command = "{command}" }}]\n')
    root.write("batch.toml", '[[runs]]\npipeline = "p"\ntask = "t"\ncount = 50\n')
    for number in range(1, 21):
        (root.path / "go").unlink(missing_ok=True)
        process = root.popen("start", "--once", "--batch", "batch.toml")
        if "go" in command:
            wait_until(lambda: len(root.running()) == 50, "all wait at the bar")
            root.write("go", "")
        assert root.finish(process).code == 0
        root.check_settled("t", count=50 * number)
    metrics = json.loads((root.path / ".runs/t/metrics.json").read_text())
    breached = [row for row in metrics["guardrails"] if row["breached"]]
    assert not breached
    assert metrics["totals"]["heartbeat_failures_count"] == 0
    assert metrics["totals"]["slowest_manifest_s"] < 10

"""Flushes that take long, that are refused, and directories that cannot be flushed at all."""

import json
import os
import shutil
import signal

import pytest

from tests.holding import worker_of
from tests.root import Root, wait_until

needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="there is no strace")

ALL = ("strace", "-f", "-qq", "-o", "/dev/null")


@needs_strace
@pytest.mark.fault("F10")
def test_flushes_that_take_long_are_counted_and_told_and_no_heart_misses_a_beat(root: Root) -> None:
    root.configure(settings="write_deadline_s = 0.1")
    process = root.popen(
        "start",
        under=(
            *ALL,
            "-e",
            "trace=fsync,fdatasync",
            "-e",
            "inject=fsync,fdatasync:delay_enter=150ms",
        ),
    )
    run_id = root.call("submit", "--", "sleep", "0.5").out.strip()
    assert root.call("wait", run_id).code == 0
    (manifest,) = root.manifests()
    beats = manifest["extensions"]["heartbeat"]
    assert beats["writes_failed"] == 0
    assert beats["writes_ok"] >= 5, "it beats while its journal is being flushed"
    assert manifest["extensions"]["slowest_journal_write_s"] >= 0.15
    assert "slow_write" in [w["code"] for w in manifest["extensions"]["warnings"]]
    wait_until((root.path / ".runs/default/metrics.json").exists, "the metrics are written")
    rows = json.loads((root.path / ".runs/default/metrics.json").read_text())["guardrails"]
    assert [row["breached"] for row in rows if "manifest" in row["name"]] == [True]
    root.stop(process)


@needs_strace
@pytest.mark.fault("F29")
def test_a_directory_that_cannot_be_flushed_is_tolerated_and_told(root: Root) -> None:
    root.path.joinpath(".runs/.supervisor").mkdir(parents=True, mode=0o700)
    root.path.joinpath(".runs").chmod(0o700)
    # Only directories are flushed by fsync(2) on a read-only descriptor: by path they are few.
    paths = [".runs/.supervisor", ".runs", "out", ".runs/.supervisor/accepted"]
    only = [word for path in paths for word in ("-P", str(root.path / path))]
    inject = ("-e", "trace=fsync", "-e", "inject=fsync:error=EINVAL")
    process = root.popen("start", under=(*ALL, *only, *inject))
    run_id = root.call("submit", "--", "true").out.strip()
    assert root.call("wait", run_id).code == 0
    assert root.call("status", "--json").json()["durability"] == "files only"
    assert root.call("stop").code == 0
    done = root.finish(process)
    assert "this file system cannot flush directories" in done.err
    root.check_settled(count=1)


@needs_strace
@pytest.mark.fault("F17")
def test_logs_of_a_killed_worker_are_flushed_before_the_verdict_that_points_to_them(
    root: Root,
) -> None:
    root.configure("[pipelines.p]\nstages = [{ id = 's', command = 'echo x; sleep 600' }]\n")
    trace = root.path / "trace"
    under = ("strace", "-f", "-qq", "-y", "-o", str(trace), "-e", "trace=fsync,fdatasync")
    process = root.popen("start", "--once", "p", under=under)
    wait_until(root.stages, "the stage is on")
    run_id = root.manifests()[0]["run_id"]
    os.kill(worker_of(run_id), signal.SIGKILL)
    assert root.finish(process).code == 12
    run = root.layout.run_dir("default", run_id)
    flushed = [line.partition("<")[2].partition(">")[0] for line in trace.read_text().splitlines()]
    verdict = len(flushed) - 1 - flushed[::-1].index(run.journal)
    for path in (run.commands, run.stage_log(1, "s", "stdout"), run.stage_log(1, "s", "stderr")):
        assert path in flushed[:verdict], path

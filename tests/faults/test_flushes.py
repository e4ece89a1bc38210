"""Flushes that take long, that are refused, and directories that cannot be flushed at all."""

import json
import shutil

import pytest

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

"""watchdog only hints: without it everything works, a little later."""

import json
import signal
from pathlib import Path

import pytest

from tests.root import Root, wait_until, without_module


@pytest.mark.fault("F23")
def test_a_supervisor_without_watchdog_finds_requests_by_its_scan(root: Root) -> None:
    process = root.popen("start", env=without_module("watchdog", root.path / "blocked"))
    view = Path(root.layout.status)
    wait_until(view.exists, "the supervisor serves")
    assert json.loads(view.read_text())["watch"] == "polling (watchdog is not installed)"
    run_id = root.call("submit", "--", "true").out.strip()
    assert root.call("wait", run_id).code == 0
    process.send_signal(signal.SIGTERM)
    assert root.finish(process).code == 143
    root.check_settled(count=1)


@pytest.mark.fault("F25")
def test_a_watched_inbox_that_is_deleted_is_made_again_and_served(root: Root) -> None:
    process = root.serving()
    Path(root.layout.inbox).rmdir()
    run_id = root.call("submit", "--", "true").out.strip()
    assert root.call("wait", run_id).code == 0
    process.send_signal(signal.SIGTERM)
    root.finish(process)
    root.check_settled(count=1)


def test_a_runs_directory_of_a_checkout_is_made_private(root: Root) -> None:
    (root.path / ".runs").mkdir(mode=0o755)
    (root.path / "out").mkdir(mode=0o755)
    assert root.call("run", "--", "true").code == 0
    wait_until(lambda: not list(Path(root.layout.accepted).iterdir()), "it is settled")
    assert (root.path / ".runs").stat().st_mode & 0o777 == 0o700
    assert (root.path / "out").stat().st_mode & 0o777 == 0o700

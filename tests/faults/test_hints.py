"""Hints of a changed inbox come late, too many, or never: the scan finds everything."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.root import Root, wait_until

NO_WATCHES = 'echo 0 > /proc/sys/user/max_inotify_{}; exec "$@"'
EVENTS_COUNT = 40_000  # more than the kernel's queue of 16,384 holds


def exhausted(what: str) -> tuple[str, ...]:
    """Words that run a command in a user namespace of its own, where inotify gives nothing."""
    return ("unshare", "--user", "--map-root-user", "sh", "-c", NO_WATCHES.format(what), "sh")


def works(what: str) -> bool:
    done = subprocess.run([*exhausted(what), "true"], capture_output=True)
    return done.returncode == 0


@pytest.mark.fault("F23")
@pytest.mark.parametrize("what", ["watches", "instances"])
def test_where_inotify_is_exhausted_requests_are_found_by_the_scan(root: Root, what: str) -> None:
    if not works(what):
        pytest.skip("no user namespace can be made here")
    process = root.popen("start", under=exhausted(what))
    wait_until(Path(root.layout.status).exists, "the supervisor serves")
    run_id = root.call("submit", "--", "true").out.strip()
    assert root.call("wait", run_id).code == 0
    assert root.call("status", "--json").json()["watch"].startswith("polling (")
    process.send_signal(signal.SIGTERM)
    assert root.finish(process).code == 143
    root.check_settled(count=1)


@pytest.mark.fault("F24")
@pytest.mark.parametrize(
    "count", [2_000, pytest.param(EVENTS_COUNT, marks=pytest.mark.slow)], ids=["some", "overflow"]
)
def test_requests_behind_a_flood_of_hints_are_found(root: Root, count: int) -> None:
    process = root.serving()
    process.send_signal(signal.SIGSTOP)
    inbox = Path(root.layout.inbox)
    for number in range(count):
        path = inbox / f".noise-{number}.tmp"
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
        path.unlink()
    run_id = root.call("submit", "--", "true").out.strip()
    process.send_signal(signal.SIGCONT)
    assert root.call("wait", run_id).code == 0
    process.send_signal(signal.SIGTERM)
    assert root.finish(process).code == 143
    root.check_settled(count=1)

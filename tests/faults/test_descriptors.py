"""No descriptors left: nothing is lost or closed by mistake, and it works again when there are."""

import os
import resource
import signal

import pytest

from tests.root import Root, wait_until


@pytest.mark.fault("F9")
def test_a_supervisor_without_descriptors_does_no_harm_and_recovers(root: Root) -> None:
    process = root.serving()
    go = root.path / "go"
    running = root.call("submit", "--", "sh", "-c", f"until [ -e {go} ]; do sleep 0.02; done")
    wait_until(root.stages, "a run is at its stage")
    open_count = len(os.listdir(f"/proc/{process.pid}/fd"))
    before = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (open_count, before[1]))
    go.touch()
    waiting = [root.call("submit", "--", "true").out.strip() for _ in range(2)]
    wait_until(lambda: not root.stages(), "the stage has ended")
    root.call("status")
    assert process.poll() is None
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, before)
    assert root.call("wait", running.out.strip()).code == 0
    for run_id in waiting:  # tried again within bounds, then spawn-failed
        assert root.call("wait", run_id).code in (0, 12)
    wait_until(
        lambda: len(os.listdir(f"/proc/{process.pid}/fd")) <= open_count, "no descriptor is lost"
    )
    process.send_signal(signal.SIGTERM)
    done = root.finish(process)
    assert done.code == 143
    assert "Traceback" not in done.err
    root.check_settled(count=3)


@pytest.mark.fault("F9")
def test_with_just_too_few_descriptors_to_start_a_worker_it_is_tried_again(root: Root) -> None:
    process = root.serving()
    run_id = root.call("submit", "--", "true").out.strip()
    assert root.call("wait", run_id).code == 0
    open_count = len(os.listdir(f"/proc/{process.pid}/fd"))
    before = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
    for room in range(1, 9, 2):
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (open_count + room, before[1]))
        run_id = root.call("submit", "--", "true").out.strip()
        wait_until(
            lambda run_id=run_id: (
                run_id in str([m["run_id"] for m in root.manifests()])
                or any(line["event"].endswith(("postponed", "unreadable")) for line in root.log())
                or process.poll() is not None
            ),
            "it was looked at",
        )
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, before)
        # A worker inherits the limit; too few for its stage is a verdict like another.
        assert root.call("wait", run_id).code in (0, 10), room
    process.send_signal(signal.SIGTERM)
    assert root.finish(process).code == 143
    root.check_settled(count=5)

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.root import Root, wait_until


@contextmanager
def held(root: Root, task: str) -> Iterator[None]:
    """Another program holds the task's lock."""
    path = root.layout.state_lock(task)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(fd)


def owed_warnings(root: Root) -> list[bool]:
    return [
        any(w["code"] == "snapshot_owed" for w in m["extensions"]["warnings"])
        for m in root.manifests()
        if m["status"] == "succeeded"
    ]


@pytest.mark.fault("L1")
def test_a_leftover_lock_file_costs_nothing(root: Root) -> None:
    path = root.layout.state_lock("default")
    os.makedirs(os.path.dirname(path))
    root.write(".runs/default.lock", "4711\n").chmod(0o600)
    assert root.call("run", "--", "true").code == 0
    wait_until(lambda: not os.listdir(root.layout.accepted), "the run is settled")
    root.check_settled(count=1)
    lock = json.loads((root.path / ".runs/default/metrics.json").read_text())["lock"]
    assert lock == {"attempts_count": 1, "contended_count": 0, "owed_count": 0, "paid_count": 0}
    assert (root.path / ".runs/default.lock").read_text() == "4711\n"


def test_a_held_lock_costs_no_snapshot_and_the_manifest_says_what_is_owed(root: Root) -> None:
    with held(root, "default"):
        root.write(
            "batch.toml",
            '[[runs]]\npipeline = "p"\ncount = 5\n[pipelines.p]\n'
            'stages = [{ id = "s", command = "true" }]\n',
        )
        process = root.popen("start", "--once", "--batch", "batch.toml")
        wait_until(lambda: owed_warnings(root) == [True] * 5, "every manifest says it is owed")
        assert len(root.history()) == 5
        assert not os.path.exists(root.layout.state("default"))
        assert process.poll() is None, "--once stays for what is owed"
    done = root.finish(process)
    assert done.code == 0
    assert "its state could not be written" in done.err
    assert owed_warnings(root) == [False] * 5
    root.check_settled(count=5)
    events = [line["event"] for line in root.log()]
    assert events.count("snapshot_owed") == 1
    assert events.count("snapshot_paid") == 1


def test_what_is_still_owed_when_patience_ends_is_paid_by_the_next_start(root: Root) -> None:
    root.configure(settings="owed_wait_s = 0.2")
    with held(root, "default"):
        root.call("submit", "--", "true")
        done = root.call("start", "--once")
        assert done.code == 0
        assert "still owed; the next start writes it" in done.err
        assert len(os.listdir(root.layout.accepted)) == 1
    assert root.call("start", "--once").code == 0
    root.check_settled(count=1)


def test_a_lock_in_one_task_delays_no_other_task(root: Root) -> None:
    root.configure(settings="owed_wait_s = 0.2")
    with held(root, "default"):
        root.call("submit", "--", "true")
        root.call("submit", "--task", "free", "--", "true")
        assert root.call("start", "--once").code == 0
        assert root.state("free")["totals"]["runs"] == 1
    assert root.call("start", "--once").code == 0


def test_a_link_in_the_locks_place_is_never_followed(root: Root) -> None:
    target = root.write("target", "mine")
    root.configure(settings="owed_wait_s = 0.2")
    os.makedirs(root.layout.runs)
    os.symlink(target, root.layout.state_lock("default"))
    root.call("submit", "--", "true")
    assert root.call("start", "--once").code == 0
    assert target.read_text() == "mine"
    (manifest,) = root.manifests()
    assert manifest["status"] == "succeeded"
    assert len(root.history()) == 1
    os.unlink(root.layout.state_lock("default"))
    assert root.call("start", "--once").code == 0
    root.check_settled(count=1)

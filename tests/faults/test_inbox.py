"""Requests that are no requests: set aside, told, and in nobody's way."""

import json
import os
from pathlib import Path

import pytest

from tests.root import Root

NOBODY = 65_534


def inbox(root: Root) -> Path:
    """The inbox of a root, made where it is missing."""
    path = Path(root.layout.inbox)
    path.mkdir(parents=True, exist_ok=True)
    return path


def request(root: Root) -> bytes:
    """A request as it lies in the inbox; taken out of it."""
    root.call("submit", "--", "touch", "done")
    (path,) = Path(root.layout.inbox).glob("*.json")
    data = path.read_bytes()
    path.unlink()
    return data


def check_set_aside(root: Root, name: str, why: str) -> None:
    """The next start sets it aside and serves what comes behind it."""
    behind = root.call("submit", "--", "true").out.strip()
    done = root.call("start", "--once")
    assert done.code == 0
    assert why in done.err
    assert os.path.lexists(Path(root.layout.rejected, name))
    assert not (root.path / "done").exists(), "it was done"
    assert [m["run_id"] for m in root.manifests()] == [behind]
    assert [e["event"] for e in root.log()].count("request_rejected") == 1


@pytest.mark.fault("S5")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_request_of_another_user_is_set_aside(root: Root) -> None:
    path = inbox(root) / "0.json"
    path.write_bytes(request(root))
    os.chown(path, NOBODY, NOBODY)
    check_set_aside(root, "0.json", "belongs to another user")


@pytest.mark.fault("S6", "S5")
def test_a_request_with_a_second_name_is_set_aside(root: Root) -> None:
    path = inbox(root) / "0.json"
    path.write_bytes(request(root))
    os.link(path, root.path / "second-name")
    check_set_aside(root, "0.json", "hard link")


@pytest.mark.fault("C5", "C15")
@pytest.mark.parametrize("part", ["stages", "grace_s", "stream_limit_bytes"])
def test_request_for_a_run_that_cannot_be_is_set_aside(root: Root, part: str) -> None:
    data = json.loads(request(root))
    if part == "stages":
        data["runs"][0]["pipeline"]["stages"] = []
    else:
        data["runs"][0]["limits"][part] = 0 if part == "grace_s" else -1
    (inbox(root) / "0.json").write_text(json.dumps(data))
    check_set_aside(root, "0.json", f"{part} must")


@pytest.mark.fault("S6", "C20")
def test_a_fifo_in_the_inbox_is_set_aside_and_not_waited_for(root: Root) -> None:
    os.mkfifo(inbox(root) / "0.json")
    check_set_aside(root, "0.json", "not a regular file")


@pytest.mark.fault("S6")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make devices")
def test_a_device_in_the_inbox_is_set_aside(root: Root) -> None:
    os.mknod(inbox(root) / "0.json", 0o020600, os.makedev(1, 5))  # /dev/zero
    check_set_aside(root, "0.json", "not a regular file")


@pytest.mark.fault("C20")
def test_a_sparse_gigabyte_in_the_inbox_is_set_aside_unread(root: Root) -> None:
    path = inbox(root) / "0.json"
    path.touch(mode=0o600)
    os.truncate(path, 1 << 30)
    check_set_aside(root, "0.json", "is larger than")


@pytest.mark.fault("C20")
def test_a_request_for_a_finished_run_changes_nothing(root: Root) -> None:
    root.call("submit", "--", "true")
    (path,) = Path(root.layout.inbox).glob("*.json")
    data = path.read_bytes()
    assert root.call("start", "--once").code == 0
    (run_id,) = [m["run_id"] for m in root.manifests()]
    for name, content in {
        "0.json": data,
        "1.json": data,
        "2.json": cancel(run_id),
        "3.json": cancel("2020-01-01T00-00-00-000Z-00000000"),
    }.items():
        Path(root.layout.inbox, name).write_bytes(content)
    before = {p: p.read_bytes() for p in root.path.glob("out/**/*.*")}
    assert root.call("start", "--once").code == 0
    assert {p: p.read_bytes() for p in root.path.glob("out/**/*.*")} == before
    assert os.listdir(root.layout.inbox) == os.listdir(root.layout.rejected) == []
    root.check_settled(count=1)


def cancel(run_id: str) -> bytes:
    record = {
        "schema": "pipeline-supervisor/request/1",
        "kind": "cancel",
        "run_ids": [run_id],
        "detail": "cancelled-by-user",
        "leave_running": False,
    }
    return json.dumps(record).encode()

"""A disk without bytes or inodes: what runs goes on, what is owed is written when there is room."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.mounts import fill, needs_root, tmpfs
from tests.root import Root, root_in, wait_until

pytestmark = needs_root
ENOUGH = "size=2m,nr_inodes=400"


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Root]:
    """A root on a small file system of its own."""
    with tmpfs(tmp_path / "root", ENOUGH), root_in(tmp_path / "root") as root:
        yield root


def waiting(go: Path) -> str:
    """A stage's command that ends when a file is there."""
    return f"echo begun; until [ -e {go} ]; do sleep 0.02; done; echo done"


def the_run(root: Root) -> str:
    """Wait until the only run is at its stage and what that has said is in its log; its id."""

    def begun() -> str | None:
        for log in (root.path / ".runs/default/cli").glob("[!.]*/commands/*.stdout.log"):
            if log.read_bytes() == b"begun\n":
                return log.parts[-3]
        return None

    return str(wait_until(begun, "its stage has begun"))


def beats(root: Root, run_id: str) -> tuple[int, int]:
    stat = Path(root.layout.run_dir("default", run_id).heartbeat).stat()
    return stat.st_mtime_ns, stat.st_size


def wait_for_beats(root: Root, run_id: str, count: int = 3) -> None:
    for _ in range(count):
        seen = beats(root, run_id)
        wait_until(lambda seen=seen: beats(root, run_id) != seen, "its heart beats")


@pytest.mark.fault("F1", "F2", "F3", "F4")
@pytest.mark.parametrize("what", ["bytes", "inodes"])
def test_a_disk_that_is_full_while_a_run_ends_costs_it_nothing_but_time(
    small: Root, tmp_path: Path, what: str
) -> None:
    process, go = small.serving(), tmp_path / "go"
    small.call("submit", "--", "sh", "-c", waiting(go))
    run_id = the_run(small)
    ballast = fill(small.path, what)
    wait_for_beats(small, run_id)
    go.touch()
    wait_until(lambda: not small.stages(), "its stage has ended")
    shown = small.call("status", "--json")
    assert [row["run_id"] for row in shown.json()["runs"]] == [run_id]
    refused = small.call("submit", "--", "true")
    assert (refused.code, len(refused.err.splitlines())) == (73, 1)
    assert process.poll() is None
    for path in ballast:
        path.unlink()
    assert small.call("wait", run_id).code == 0
    process.send_signal(signal.SIGTERM)
    assert small.finish(process).code == 143
    small.check_settled(count=1)
    (manifest,) = small.manifests()
    assert manifest["extensions"]["heartbeat"]["writes_failed"] == 0
    log = small.path / manifest["commands"][0]["log_path"]
    if log.read_text() != "begun\ndone\n":  # its end came while there was no room for it
        assert log.read_text() == "begun\n"
        warnings = manifest["extensions"]["warnings"]
        assert "log_incomplete" in [warning["code"] for warning in warnings]


@pytest.mark.fault("F1", "F2", "F4")
@pytest.mark.parametrize("words", [("start", "--once", "p"), ("start", "p")], ids=["once", "told"])
def test_a_result_that_is_refused_to_the_end_is_named_and_written_by_the_next_start(
    small: Root, tmp_path: Path, words: tuple[str, ...]
) -> None:
    go = tmp_path / "go"
    small.configure(
        f"[pipelines.p]\nstages = [{{ id = 's', command = '{waiting(go)}' }}]",
        "owed_wait_s = 0.1",
    )
    process = small.popen(*words)
    run_id = the_run(small)
    ballast = fill(small.path, "inodes")
    go.touch()
    if "--once" not in words:
        journal = Path(small.layout.run_dir("default", run_id).journal)
        wait_until(lambda: b"verdict" in journal.read_bytes(), "its verdict is in the journal")
        process.send_signal(signal.SIGTERM)
    done = small.finish(process)
    assert done.code == 73
    assert f"the result of {run_id} is not on disk" in done.err
    assert not small.stages()
    for path in ballast:
        path.unlink()
    assert small.call("start", "--once").code == 0
    small.check_settled(count=1)
    (manifest,) = small.manifests()
    assert manifest["status"] == "succeeded"

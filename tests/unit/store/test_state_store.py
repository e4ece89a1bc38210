import fcntl
import json
import os
from pathlib import Path
from typing import Any

import pytest

from supervisor.errors import TaskStateStoreLockError
from supervisor.store.state_lock import state_lock
from supervisor.store.state_store import TaskStateStore
from workers.records.history import lines_of_runs
from workers.records.layout import Layout
from workers.records.limits import Limits


def line(number: int, status: str = "succeeded") -> dict[str, Any]:
    return {
        "taskId": "t",
        "runId": f"2026-01-01T00-00-00-000Z-{number:08x}",
        "timestamp": "2026-01-01T00:00:00.000Z",
        "status": status,
        "durationSeconds": 1.0,
    }


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(str(tmp_path))


def store(layout: Layout, limit: int = 1000) -> TaskStateStore:
    return TaskStateStore(layout, "t", history_limit=limit, limits=Limits())


def state(layout: Layout) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(Path(layout.state("t")).read_text())
    return value


def test_state_shows_the_newest_runs_and_totals_count_all(layout: Layout) -> None:
    made = store(layout, limit=3)
    made.append([line(n) for n in range(10)])
    made.write_snapshot()
    assert [r["runId"][-1] for r in state(layout)["runs"]] == ["7", "8", "9"]
    assert state(layout)["totals"]["runs"] == 10
    again = store(layout, limit=3)
    again.append([line(10, "failed")])
    again.write_snapshot()
    assert state(layout)["totals"] == {"runs": 11, "succeeded": 10, "failed": 1, "cancelled": 0}


def test_held_lock_raises_a_typed_error_and_leaves_the_state(layout: Layout) -> None:
    made = store(layout)
    made.append([line(1)])
    made.write_snapshot()
    before = state(layout)
    made.append([line(2)])
    fd = os.open(layout.state_lock("t"), os.O_RDWR)
    fcntl.flock(fd, fcntl.LOCK_EX)
    with pytest.raises(TaskStateStoreLockError) as caught:
        made.write_snapshot()
    assert "t" in str(caught.value)
    assert state(layout) == before
    os.close(fd)
    made.write_snapshot()
    assert state(layout)["totals"]["runs"] == 2


@pytest.mark.fault("C17")
@pytest.mark.parametrize("damage", ["state", "metrics", "both", "garbage", "ahead"])
def test_damaged_views_are_folded_from_the_history_again(layout: Layout, damage: str) -> None:
    made = store(layout)
    made.append([line(n) for n in range(5)])
    made.write_snapshot()
    paths = [layout.state("t"), layout.metrics("t")]
    if damage == "state":
        os.unlink(paths[0])
    elif damage == "metrics":
        os.unlink(paths[1])
    elif damage == "both":
        for path in paths:
            os.unlink(path)
    elif damage == "garbage":
        Path(paths[0]).write_bytes(b"\xff\x00{")
    else:
        text = Path(paths[0]).read_text()
        Path(paths[0]).write_text(text.replace('"historyBytes": ', '"historyBytes": 9'))
    again = store(layout)
    again.append([line(5)])
    again.write_snapshot()
    assert state(layout)["totals"]["runs"] == 6
    assert len({r["runId"] for r in state(layout)["runs"]}) == 6


def test_torn_line_of_a_dead_writer_is_never_joined(layout: Layout) -> None:
    made = store(layout)
    made.append([line(1)])
    with open(layout.history("t"), "ab") as file:
        file.write(json.dumps(line(2)).encode())
    again = store(layout)
    again.append([line(3)])
    again.write_snapshot()
    assert [r["runId"][-1] for r in state(layout)["runs"]] == ["1", "3"]
    torn = "2026-01-01T00-00-00-000Z-00000002"
    assert not lines_of_runs(layout.history("t"), [torn])


@pytest.mark.parametrize("call", ["write", "fdatasync"])
def test_append_that_the_disk_refuses_leaves_no_line(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    made = store(layout)
    made.append([line(1)])
    real = os.write
    group = [line(2), line(3), line(4)]

    def refuse(fd: int, data: bytes = b"") -> int:
        if call == "write":
            real(fd, bytes(data[: len(data) // 2]))
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, refuse)
    with pytest.raises(OSError, match="No space"):
        made.append(group)
    monkeypatch.undo()
    made.append(group)
    made.write_snapshot()
    assert [r["runId"][-1] for r in state(layout)["runs"]] == ["1", "2", "3", "4"]


@pytest.mark.fault("L3")
def test_lock_file_deleted_while_held_is_noticed(
    layout: Layout,
) -> None:
    path = layout.state_lock("t")
    os.makedirs(layout.runs)
    with state_lock(path) as held:
        assert held
        os.unlink(path)
        with state_lock(path) as second:
            assert second
    with state_lock(path) as held:
        assert held


@pytest.mark.fault("L9")
def test_lock_excludes_within_one_process(layout: Layout) -> None:
    os.makedirs(layout.runs)
    with state_lock(layout.state_lock("t")) as first, state_lock(layout.state_lock("t")) as second:
        assert first is not None
        assert second is None

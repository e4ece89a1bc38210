"""Start and status cost what is unfinished, not what has finished, in calls and in bytes."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from supervisor.store import state_store
from supervisor.store.state_store import TaskStateStore
from tests.root import Root
from workers.records.atomic import to_line
from workers.records.history import read_lines
from workers.records.layout import Layout
from workers.records.limits import Limits

pytestmark = [
    pytest.mark.fault("V9"),
    pytest.mark.skipif(shutil.which("strace") is None, reason="there is no strace"),
]

FINISHED = 100_000
# A start reads the state with its newest 1,000 runs and holds it against the 1,000 last lines of
# the history, some 600 bytes each; a status reads the history's last lines.
BOUNDED_BYTES = 5 << 20
CALL = re.compile(r"(\w+)\((?:\d+<([^>]*)>|[^\"]*\"([^\"]*)\").*= (-?\d+)")


@dataclass(frozen=True)
class Cost:
    """What a command did below its root: files opened, bytes read, bytes of directories listed."""

    opened_count: int
    read_bytes: int
    listed_bytes: int


def run_id(number: int) -> str:
    return f"2020-01-01T00-00-00-000Z-{number:08x}"


def finish(root: Root, count: int, directories_count: int) -> None:
    """Add finished runs to those that the product made, as the product would have."""
    newest, layout = root.history()[-1], root.layout
    text = to_line(newest)
    with open(layout.history("default"), "ab") as file:
        for number in range(count):
            file.write(text.replace(newest["runId"].encode(), run_id(number).encode()))
    store = TaskStateStore(layout, "default", history_limit=1000, limits=Limits())
    store.write_snapshot()
    for number in range(directories_count):
        os.mkdir(layout.run_dir("default", run_id(number)).path, 0o700)


def cost(root: Root, log: Path, *words: str) -> Cost:
    """Run a command to its end and count what it did."""
    traced = "trace=open,openat,read,pread64,getdents64"
    tracer = ["strace", "-f", "-y", "-o", str(log), "-e", traced]
    ran = subprocess.run(
        [*tracer, sys.executable, "-m", "supervisor", *words],
        cwd=root.path,
        env={**os.environ, "XDG_CONFIG_HOME": str(root.path / "xdg")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    counts: Counter[str] = Counter()
    for text in log.read_text(errors="replace").splitlines():
        call = CALL.search(text)
        if call is None or not (call[2] or call[3]).startswith(str(root.path)):
            continue
        counts["opened" if call[1].startswith("open") else call[1]] += (
            1 if call[1].startswith("open") else max(0, int(call[4]))
        )
    return Cost(counts["opened"], counts["read"] + counts["pread64"], counts["getdents64"])


def costs(root: Root, log: Path) -> list[Cost]:
    """Of a start that ends two unfinished runs one after the other, and of a status."""
    for _ in range(2):
        assert root.call("submit", "--", "true").code == 0
    return [cost(root, log, "start", "--once", "--max-runs", "1"), cost(root, log, "status")]


@pytest.mark.parametrize(
    "directories_count", [2_000, pytest.param(FINISHED, marks=pytest.mark.slow)]
)
def test_a_hundred_thousand_finished_runs_cost_nothing(
    root: Root, tmp_path: Path, directories_count: int
) -> None:
    log = tmp_path / "calls"
    few = costs(root, log)
    assert all(cost.opened_count and cost.read_bytes and cost.listed_bytes for cost in few)
    finish(root, FINISHED, directories_count)
    many = costs(root, log)
    for small, large in zip(few, many, strict=True):
        # Beats and scans come by the clock, and each opens and reads what it looks at.
        assert large.opened_count < small.opened_count + 200
        assert large.read_bytes < small.read_bytes + BOUNDED_BYTES
        assert large.listed_bytes < small.listed_bytes + 4096
    assert root.state()["totals"]["runs"] == FINISHED + 4
    assert len(root.state()["runs"]) == 1000


def line(number: int) -> dict[str, Any]:
    return {"taskId": "t", "runId": run_id(number), "timestamp": "x", "status": "succeeded"}


@pytest.mark.parametrize("behind", ["state", "metrics"])
def test_a_crash_between_the_two_views_does_not_make_the_next_start_read_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, behind: str
) -> None:
    layout = Layout(str(tmp_path))

    def store() -> TaskStateStore:
        return TaskStateStore(layout, "t", history_limit=10, limits=Limits())

    made = store()
    made.append([line(number) for number in range(50)])
    made.write_snapshot()
    old = Path(layout.state("t") if behind == "state" else layout.metrics("t"))
    before, covered = old.read_bytes(), os.path.getsize(layout.history("t"))
    made.append([line(number) for number in range(50, 53)])
    made.write_snapshot()
    old.write_bytes(before)
    offsets = []

    def spy(path: str, offset: int = 0) -> Any:
        offsets.append(offset)
        return read_lines(path, offset)

    monkeypatch.setattr(state_store, "read_lines", spy)
    again = store()
    again.append([line(53)])
    again.write_snapshot()
    assert offsets == [covered]
    state = json.loads(Path(layout.state("t")).read_text())
    metrics = json.loads(Path(layout.metrics("t")).read_text())
    assert state["totals"]["runs"] == metrics["totals"]["runs"] == 54
    assert [run["runId"] for run in state["runs"]] == [run_id(n) for n in range(44, 54)]

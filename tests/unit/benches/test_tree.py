"""The tree of a measurement: all of its CPU is counted, and nothing of it stays."""

import os
from pathlib import Path

import pytest

from benches import group
from benches.measure import run
from benches.tree import tree

BURN = "i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done"


@pytest.fixture(params=["cgroup", "waiting"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways of counting."""
    if request.param == "waiting":
        monkeypatch.setattr(group, "ROOTS", ())
    return str(request.param)


@pytest.mark.usefixtures("way")
def test_the_cpu_of_an_orphan_counts(tmp_path: Path) -> None:
    nobody_waits = run(["sh", "-c", f"({BURN}) & exit 0"], tmp_path).cpu_s
    plain = run(["sh", "-c", BURN], tmp_path).cpu_s
    assert nobody_waits > plain / 2 > 0


@pytest.mark.usefixtures("way")
def test_what_is_left_of_a_tree_is_killed_at_its_end(tmp_path: Path) -> None:
    with tree() as mine:
        mine.start(["sh", "-c", "sleep 1000 & echo $! > pid; exit 0"], tmp_path).wait()
        pid = int((tmp_path / "pid").read_text())
        os.kill(pid, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_command_that_fails_is_an_error_with_its_words(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="exit code 3: no such header"):
        run(["sh", "-c", "echo no such header >&2; exit 3"], tmp_path)


def test_a_tree_leaves_what_it_found(tmp_path: Path) -> None:
    with tree() as outer:
        sleeper = outer.start(["sleep", "1000"], tmp_path)
        run(["true"], tmp_path)
        assert sleeper.poll() is None

"""Chaos finds no violation, and every one of its checks can fail."""
# ruff: noqa: D103 - a test's name is its docstring, as in tests/

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from stress.chaos.checks import Observations, check
from stress.chaos.outcome import Outcome, lines_of
from stress.chaos.pipelines import BATCH, TASK
from stress.chaos.reader import Reader
from stress.chaos.run import chaos
from workers.records.layout import Layout

CHECKOUT = Path(__file__).parents[1]
pytestmark = pytest.mark.timeout(300)  # a quarter of a minute on an idle machine

SEED, SECONDS = 7, 4.0


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Outcome, Path]:
    """One short chaos run, and a copy of its root."""
    directory = tmp_path_factory.mktemp("chaos")
    return chaos(str(directory), seed=SEED, seconds=SECONDS, keep=True), directory


@pytest.mark.fault("V12", "P1", "P5")
def test_a_quick_chaos_breaks_nothing(finished: tuple[Outcome, Path]) -> None:
    outcome, _ = finished
    assert not outcome.broken, "\n".join(lines_of(outcome))
    assert lines_of(outcome)[-1] == f"chaos: seed {SEED}, {SECONDS:g} s: nothing is broken"
    assert sum(outcome.done.values()) > 5


def test_chaos_leaves_no_mount_and_no_process(finished: tuple[Outcome, Path]) -> None:
    _, directory = finished
    assert not os.path.ismount(directory / "disk")
    found = [p for p in Path("/proc").glob("[0-9]*/cmdline") if _has(p, str(directory))]
    assert found == []


def _has(path: Path, text: str) -> bool:
    try:
        return text.encode() in path.read_bytes()
    except OSError:
        return False


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.fault("V12")
@pytest.mark.parametrize("seed", [11, 12])
def test_minutes_of_chaos_break_nothing(tmp_path: Path, seed: int) -> None:
    outcome = chaos(str(tmp_path), seed=seed, seconds=200)
    assert not outcome.broken, "\n".join(lines_of(outcome))


def copy_of(finished: tuple[Outcome, Path], to: Path) -> Observations:
    """A copy of the root in which a test breaks something."""
    _, directory = finished
    subprocess.run(["cp", "-a", directory / "root", to / "root"], check=True)
    shutil.copy(directory / "marks", to / "marks")
    return Observations(layout=Layout(str(to / "root")), marks=str(to / "marks"))


def broken(seen: Observations) -> set[str]:
    return {invariant.name for invariant in check(seen)[1] if invariant.problems}


def test_an_untouched_copy_breaks_no_invariant(
    finished: tuple[Outcome, Path], tmp_path: Path
) -> None:
    assert broken(copy_of(finished, tmp_path)) == set()


UNKNOWN = "2025-10-31T22-56-34-431Z-9574035c"
OUTSIDE = [
    ({"settled": 1}, "one start settles everything"),
    ({"settled": None}, "one start settles everything"),
    ({"alive": ("pid 1, a worker",)}, "nothing of the root is alive"),
    (
        {"acknowledged": frozenset({UNKNOWN})},
        "every run has one verdict, in journal, manifest and history",
    ),
    (
        {"reading": ("changed",)},
        "a final status never changed, and every record always parsed",
    ),
    ({"calm": ("threads",)}, "a long-running supervisor uses no more resources than before"),
    ({"exits": {"submit": {1}}}, "commands exit with documented codes"),
]


@pytest.mark.parametrize(("change", "name"), OUTSIDE)
def test_a_problem_outside_the_records_breaks_an_invariant(
    finished: tuple[Outcome, Path], tmp_path: Path, change: dict[str, object], name: str
) -> None:
    seen = copy_of(finished, tmp_path)
    assert broken(dataclasses.replace(seen, **change)) == {name}  # type: ignore[arg-type]


def newest_run(seen: Observations) -> str:
    """A run that succeeded: the last of the calm phase."""
    lines = Path(seen.layout.history(TASK)).read_text().splitlines()
    return str(json.loads(lines[-1])["runId"])


def twice_in_the_journal(seen: Observations) -> None:
    path = Path(seen.layout.run_dir(TASK, newest_run(seen)).journal)
    path.write_bytes(path.read_bytes() + path.read_bytes().splitlines(keepends=True)[-1])


def of_half_a_batch(seen: Observations) -> None:
    path = Path(seen.layout.run_dir(TASK, newest_run(seen)).spec)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"batch": BATCH}) + "\n")


def twice_in_the_history(seen: Observations) -> None:
    path = Path(seen.layout.history(TASK))
    path.write_bytes(path.read_bytes() + path.read_bytes().splitlines(keepends=True)[-1])


def not_in_the_state(seen: Observations) -> None:
    path = Path(seen.layout.state(TASK))
    state = json.loads(path.read_text())
    del state["runs"][0]
    state["runs"].reverse()
    path.write_text(json.dumps(state) + "\n")


def miscounted(seen: Observations) -> None:
    path = Path(seen.layout.metrics(TASK))
    metrics = json.loads(path.read_text())
    metrics["totals"]["succeeded"] += 1
    path.write_text(json.dumps(metrics) + "\n")


def began_twice(seen: Observations) -> None:
    with open(seen.marks, "a", encoding="ascii") as file:
        file.write(f"begin {UNKNOWN} a 1\n" * 2)


def never_ran(seen: Observations) -> None:
    lines = Path(seen.marks).read_text().splitlines(keepends=True)
    Path(seen.marks).write_text("".join(x for x in lines if newest_run(seen) not in x))


def left_half_written(seen: Observations) -> None:
    Path(seen.layout.accepted, UNKNOWN).write_text("chaos\n")


def wide_open(seen: Observations) -> None:
    Path(seen.layout.history(TASK)).chmod(0o644)


def traced(seen: Observations) -> None:
    with open(os.path.join(seen.layout.control, "workers.log"), "a", encoding="ascii") as file:
        file.write("Traceback (most recent call last):\n  File\nValueError: x\n")


PLANTED: list[tuple[Callable[[Observations], None], str]] = [
    (twice_in_the_journal, "every run has one verdict, in journal, manifest and history"),
    (of_half_a_batch, "a batch was created whole, however often it was started"),
    (twice_in_the_history, "the history has one line per run"),
    (not_in_the_state, "the state is the end of the history"),
    (miscounted, "the metrics are the sums of the history"),
    (began_twice, "each stage ran at most once per try, and succeeded stages ran"),
    (never_ran, "each stage ran at most once per try, and succeeded stages ran"),
    (left_half_written, "there are no leftovers"),
    (wide_open, "supervisor verify finds nothing"),
    (traced, "no traceback was printed"),
]


@pytest.mark.parametrize(("plant", "name"), PLANTED, ids=[plant.__name__ for plant, _ in PLANTED])
def test_a_planted_fault_breaks_an_invariant(
    finished: tuple[Outcome, Path],
    tmp_path: Path,
    plant: Callable[[Observations], None],
    name: str,
) -> None:
    seen = copy_of(finished, tmp_path)
    plant(seen)
    assert name in broken(seen)


def test_every_invariant_fails_in_some_test(finished: tuple[Outcome, Path]) -> None:
    names = {invariant.name for invariant in finished[0].invariants}
    assert names == {name for _, name in OUTSIDE} | {name for _, name in PLANTED}


def test_the_reader_sees_a_changed_status_and_a_torn_record(
    finished: tuple[Outcome, Path], tmp_path: Path
) -> None:
    seen = copy_of(finished, tmp_path)
    reader = Reader(seen.layout)
    reader.read()
    assert reader.problems == []
    path = Path(seen.layout.run_dir(TASK, newest_run(seen)).manifest)
    path.write_text(path.read_text().replace('"status": "succeeded"', '"status": "failed"', 1))
    Path(seen.layout.state(TASK)).write_text("{")
    reader.start()
    reader.stop()
    assert any("was seen as" in problem for problem in reader.problems)
    assert any("did not parse" in problem for problem in reader.problems)


def test_a_terminated_chaos_leaves_neither_processes_nor_files_nor_mounts(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "stress", "--chaos", "--seconds", "60", "--seed", "1"]
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    out = subprocess.DEVNULL
    with subprocess.Popen(argv, cwd=CHECKOUT, env=env, stdout=out, stderr=out) as process:
        until = time.monotonic() + 60
        while not list(tmp_path.glob("*/disk/root/.runs")):
            assert time.monotonic() < until
            assert process.poll() is None
            time.sleep(0.02)
        process.terminate()
        assert process.wait(60) == 128 + signal.SIGTERM
    assert list(tmp_path.iterdir()) == []
    assert not [p for p in Path("/proc").glob("[0-9]*/cmdline") if _has(p, str(tmp_path))]

"""A supervisor killed at every mutating call loses nothing, doubles nothing, leaves nothing."""

import os
from pathlib import Path

import pytest

from tests.faults.crash import Died, Mode, supervise
from tests.root import Root, root_in

BATCH = """
[[runs]]
pipeline = "good"
count = 2
[[runs]]
pipeline = "bad"
[pipelines.good]
stages = [{ id = "s", command = "echo $SUPERVISED_RUN_ID >> ran" }]
[pipelines.bad]
stages = [{ id = "s", command = "echo $SUPERVISED_RUN_ID >> ran; exit 3" }]
"""
WORDS = ["start", "--once", "--batch", "batch.toml"]
RUNS_COUNT = 3


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "Fresh":
    for name in list(os.environ):
        if name.startswith("SUPERVIS"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    return Fresh(tmp_path)


class Fresh:
    """A new root for every point."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._count = 0

    def root(self) -> "Point":
        self._count += 1
        return Point(self._path / f"p{self._count}")


class Point:
    """One point: a crash, a start, and the invariants."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def crash_and_start(self, *crashes: tuple[int, Mode]) -> bool:
        """Crash at each of the calls, start once more, check; False where no call was reached."""
        with root_in(self.path) as root:
            root.configure()
            root.write("batch.toml", BATCH)
            died: list[Died] = []
            for number, mode in crashes:
                died.append(supervise(self.path, WORDS, number=number, mode=mode))
                if died[-1].code is not None:
                    assert died[-1].code == 10, died[-1].errors
                    break
            words = ["start", "--once"] if self._is_over(root) else WORDS
            last = supervise(self.path, words)
            assert last.code in (0, 10), last.errors
            self._check(root, [*died, last])
            return died[-1].code is None

    def _is_over(self, root: Root) -> bool:
        """The whole batch was settled before the crash: starting it again would make it anew."""
        history = Path(root.layout.history("default"))
        finished = len(history.read_text().splitlines()) if history.exists() else 0
        return finished == RUNS_COUNT and not os.listdir(root.layout.accepted)

    def _check(self, root: Root, starts: list[Died]) -> None:
        root.check_settled(count=RUNS_COUNT)
        ran = (self.path / "ran").read_text().split()
        assert sorted(ran) == sorted(m["run_id"] for m in root.manifests()), "each stage ran once"
        statuses = {m["run_id"]: m["status"] for m in root.manifests()}
        for start in starts:
            assert "Traceback" not in start.errors
            for line in start.printed.splitlines():
                status, *rest = line.split()
                if rest and rest[0] in statuses:
                    assert statuses[rest[0]] == status, "what was printed stands"


def points(fresh: Fresh, mode: Mode, *, first: int, step: int) -> int:
    """Crash at every ``step``-th call from the ``first`` on; returns how many points there were."""
    number, count = first, 0
    while fresh.root().crash_and_start((number, mode)):
        number += step
        count += 1
    print(f"{count} points, mode {mode}, from call {first} in steps of {step}")
    return count


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("mode", "first"), [(Mode.BEFORE, 1), (Mode.AFTER, 5), (Mode.TORN, 9)])
def test_killed_at_a_mutating_call_the_next_start_puts_all_right(
    fresh: Fresh, mode: Mode, first: int
) -> None:
    assert points(fresh, mode, first=first, step=12) >= 8


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("mode", Mode)
def test_killed_at_every_mutating_call_the_next_start_puts_all_right(
    fresh: Fresh, mode: Mode
) -> None:
    assert points(fresh, mode, first=1, step=1) > 100


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_again_while_it_recovers_it_still_puts_all_right(fresh: Fresh) -> None:
    count = 0
    for first in range(5, 110, 21):
        second = 1
        while fresh.root().crash_and_start((first, Mode.BEFORE), (second, Mode.BEFORE)):
            count += 1
            second += 5
    print(f"{count} points, double")
    assert count > 50

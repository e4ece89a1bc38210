"""What a run costs in calls that change the disk: counts do not depend on the machine.

A count that grows is a decision: each call here has its reason in docs/explanation/performance.md.
"""

import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.contract.worker.work import make, shell
from tests.faults.engine.lab import LAST_CALL, Lab
from tests.faults.engine.scenario import LIVING, Scenario
from tests.faults.engine.shim import Crash, Role, calls
from tests.root import LAUNCHER, Root

MANY = 8
REPOSITORY = Path(__file__).parents[2]
needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="there is no strace")


def batch_of(count: int) -> Scenario:
    """A batch of runs whose stage is over before anybody looks."""
    return Scenario(
        batch=f'[[runs]]\npipeline = "good"\ncount = {count}\n'
        '[pipelines.good]\nstages = [{ id = "s", command = ["true"] }]\n',
        words=LIVING.words,
        expected={"good": "succeeded"},
        runs_count=count,
        codes=frozenset({0}),
    )


def counted(lab: Lab, count: int, role: Role) -> Counter[str]:
    point = lab.point(batch_of(count))
    point.prepare()
    point.crash(Crash(at=10 * LAST_CALL, role=role))
    return Counter(line.split()[1] for line in calls(point.place))


def test_what_a_further_run_costs_the_supervisor(lab: Lab) -> None:
    one, many = counted(lab, 1, Role.SUPERVISOR), counted(lab, 1 + MANY, Role.SUPERVISOR)
    each = {name: (many[name] - one[name]) / MANY for name in many}
    print(each)
    # Eight are owed to every run; a busy machine may see a run on its way, which costs a manifest,
    # and where a worker is an interpreter of its own every run is seen.
    assert 8 <= each["flush"] <= 11
    assert 2 <= each["rename"] <= (4 if LAUNCHER == "zygote" else 5)
    assert each["open"] <= 12
    assert each["mkdir"] <= 2.5  # and what filelock tries for every snapshot
    assert each["unlink"] <= 2.5
    assert each["chmod"] == 0


def test_what_a_run_costs_its_worker(lab: Lab) -> None:
    found = counted(lab, 1, Role.WORKER)
    print(dict(found))
    assert found["flush"] == 4
    assert found["open"] == 3
    assert found["rename"] == found["mkdir"] == found["unlink"] == 0


def test_what_a_run_leaves_on_disk(root: Root) -> None:
    root.configure('[pipelines.good]\nstages = [{ id = "s", command = ["true"] }]\n')
    assert root.call("start", "--once", "good").code == 0
    (run,) = (root.path / ".runs/default/cli").iterdir()
    sizes = {p.name: p.stat().st_size for p in run.rglob("*") if p.is_file()}
    (line,) = (root.path / "out/default/history.ndjson").read_bytes().splitlines()
    print(sizes, len(line))
    assert sum(sizes.values()) <= 7_000  # of which the manifest, for people, is half
    assert len(sizes) <= 7
    assert len(line) <= 1_100


FORK_COUNTING = "strace -f -qq -e trace=clone,clone3,vfork,fork -o {out} {python} -m supervisor"


@needs_strace
def test_what_a_run_forks(root: Root) -> None:
    root.configure('[pipelines.good]\nstages = [{ id = "s", command = ["true"] }]\n')
    counts = []
    for runs in (1, 1 + MANY):
        root.write("batch.toml", f'[[runs]]\npipeline = "good"\ncount = {runs}\n')
        words = FORK_COUNTING.format(out="calls", python=sys.executable)
        assert root.finish(root.shell(f"{words} start --once --batch batch.toml")).code == 0
        made = [line for line in (root.path / "calls").read_text().splitlines() if "= " in line]
        counts.append(len(made))
    # A worker, its pulse, its command; the system may refuse one and be asked again.
    assert (counts[1] - counts[0]) / MANY <= 3.5


RUN_IN_PLACE = """
import sys
sys.path.append(sys.argv[1])
import workers.entry.zygote
from workers import __main__ as program
known = set(sys.modules)
code = program.main(["workers", sys.argv[2]])
print(sorted(set(sys.modules) - known))
sys.exit(code)
"""


def test_a_run_imports_nothing_that_the_zygote_has_not(tmp_path: Path) -> None:
    run = make(tmp_path, [shell("echo x; echo y >&2"), shell("exit 3", "bad", allow_failure=True)])
    words = [sys.executable, "-I", "-S", "-c", RUN_IN_PLACE, str(REPOSITORY), run.run.path]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n", done.stdout

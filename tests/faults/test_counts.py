"""What a run costs in calls that change the disk: counts do not depend on the machine.

A count that grows is a decision: each call here has its reason in docs/explanation/performance.md.
"""

from collections import Counter

from tests.faults.engine.lab import LAST_CALL, Lab
from tests.faults.engine.scenario import LIVING, Scenario
from tests.faults.engine.shim import Crash, Role, calls

MANY = 8


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
    # Eight are owed to every run; a busy machine may see a run on its way, which costs a manifest.
    assert 8 <= each["flush"] <= 11
    assert 2 <= each["rename"] <= 4
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

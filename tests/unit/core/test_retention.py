"""What goes and what stays, by count, age and bytes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core.policy.retention import DAY_S, Candidate, RetentionLimits, decide

NOW = 100 * DAY_S


def run(name: str, days_ago: float | None = 1, **values: Any) -> Candidate:
    ended = None if days_ago is None else NOW - days_ago * DAY_S
    given: dict[str, Any] = {"parent_run_id": None, "blocked": None, "size_bytes": 10, **values}
    return Candidate(run_id=name, ended_epoch_s=ended, **given)


def going(runs: list[Candidate], **limits: Any) -> list[str]:
    decision = decide(runs, RetentionLimits(**limits), now_epoch_s=NOW)
    return [item.run.run_id for item in decision.removals]


OLD_TO_NEW = [run("a", 4), run("b", 3), run("c", 2), run("d", 1)]


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({}, []),
        ({"keep_runs": 2}, ["a", "b"]),
        ({"keep_runs": 0}, ["a", "b", "c", "d"]),
        ({"keep_runs": 9}, []),
        ({"keep_days": 2}, ["a", "b"]),
        ({"keep_days": 2.5}, ["a", "b"]),
        ({"keep_bytes": 30}, ["a"]),
        ({"keep_bytes": 9}, ["a", "b", "c", "d"]),
        ({"keep_runs": 3, "keep_days": 2.5, "keep_bytes": 1000}, ["a", "b"]),
    ],
)
def test_each_limit_applies_and_the_oldest_are_removed_first(
    limits: dict[str, Any], expected: list[str]
) -> None:
    assert going(OLD_TO_NEW, **limits) == expected


def test_family_is_removed_as_a_whole_children_first() -> None:
    runs = [run("p", 3), run("k", 3, parent_run_id="p"), run("g", 3, parent_run_id="k"), run("n")]
    assert going(runs, keep_runs=1) == ["g", "k", "p"]


def test_family_counts_once_and_is_as_young_as_its_last_run() -> None:
    runs = [run("p", 1), run("k", 5, parent_run_id="p"), run("o", 4)]
    assert going(runs, keep_runs=1) == ["o"]
    assert going(runs, keep_days=2) == ["o"]


def test_child_without_its_parent_is_a_family_of_its_own() -> None:
    assert going([run("k", 5, parent_run_id="gone"), run("n")], keep_runs=1) == ["k"]


def test_blocked_run_keeps_its_family_and_the_reason_is_reported() -> None:
    runs = [run("p", 5), run("k", None, parent_run_id="p", blocked="is not finished"), run("o", 4)]
    decision = decide(runs, RetentionLimits(keep_runs=0), now_epoch_s=NOW)
    assert [item.run.run_id for item in decision.removals] == ["o"]
    assert decision.kept == {"p": "is not finished", "k": "is not finished"}


def test_runs_named_by_a_kept_run_are_kept_transitively() -> None:
    runs = [
        run("first", 9),
        run("second", 8, names=frozenset({"first"})),
        run("third", 1, names=frozenset({"second"})),
        run("other", 7),
    ]
    decision = decide(runs, RetentionLimits(keep_runs=1), now_epoch_s=NOW)
    assert [item.run.run_id for item in decision.removals] == ["other"]
    assert decision.kept["first"] == "run second names it"


def test_runs_that_are_removed_together_may_name_each_other() -> None:
    runs = [run("a", 9), run("b", 8, names=frozenset({"a"})), run("c", 1)]
    assert going(runs, keep_runs=1) == ["a", "b"]


def test_circle_of_parents_ends() -> None:
    runs = [run("a", 3, parent_run_id="b"), run("b", 3, parent_run_id="a")]
    assert len(going(runs, keep_runs=0)) <= 2


ids = st.sampled_from("abcdefgh")


@given(
    st.dictionaries(
        ids,
        st.tuples(
            st.one_of(st.none(), ids),
            st.one_of(st.none(), st.floats(0, 50)),
            st.frozensets(ids, max_size=2),
            st.booleans(),
        ),
    ),
    st.one_of(st.none(), st.integers(0, 9)),
    st.one_of(st.none(), st.floats(0, 50)),
    st.one_of(st.none(), st.integers(0, 100)),
)
def test_no_kept_run_ever_names_a_removed_one(
    drawn: dict[str, Any], count: int | None, days: float | None, size: int | None
) -> None:
    runs = [
        run(
            name,
            days_ago,
            parent_run_id=parent,
            names=names,
            blocked="held" if held or days_ago is None else None,
        )
        for name, (parent, days_ago, names, held) in drawn.items()
    ]
    limits = RetentionLimits(keep_runs=count, keep_days=days, keep_bytes=size)
    gone = {item.run.run_id: item for item in decide(runs, limits, now_epoch_s=NOW).removals}
    for item in runs:
        if item.run_id not in gone:
            assert not item.names & set(gone)
            assert item.parent_run_id not in gone
        else:
            assert item.blocked is None
            assert limits.any()


def test_unfinished_runs_take_no_place_of_finished_ones() -> None:
    queued = [run(name, None, blocked="is not in history and state yet") for name in "xyz"]
    parent = run("p", 0.5)
    child = run("q", None, parent_run_id="p", blocked="is not in history and state yet")
    assert going([*OLD_TO_NEW, *queued, parent, child], keep_runs=2) == ["a", "b"]

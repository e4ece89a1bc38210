"""Timing of runs whose times are given here."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.report.read.stage_tries import Instant, Span, covered_s, place_after, place_facts
from supervisor.report.read.timing import timing_json, timing_of
from supervisor.report.terminal.timing_table import timing_lines
from supervisor.report.text.output import duration
from tests.operations import operations_of
from tests.unit.report.trees import in_a_row, run, stage, tried
from workers.records.journal import Fact


def steps(tree: object) -> list[tuple[str, str | None, float, float]]:
    path = timing_of(tree).path  # type: ignore[arg-type]
    return [(s.kind, s.stage, s.span.begin_s, s.span.end_s) for s in path]


def test_sums_of_sequential_stages_add_up_to_the_total() -> None:
    stages = in_a_row(stage("a", tried(1, 2.5, 4.0)), stage("b", tried(1, 4.5, 9.0)))
    tree = run(*stages, begin_s=2.0, end_s=10.0)
    timing = timing_of(tree)
    assert (timing.total_s, timing.queued_s, timing.stages_s, timing.overhead_s) == (10, 2, 6, 2)
    assert steps(tree) == [
        ("queue", None, 0, 2),
        ("overhead", None, 2, 2.5),
        ("stage", "a", 2.5, 4),
        ("overhead", None, 4, 4.5),
        ("stage", "b", 4.5, 9),
        ("overhead", None, 9, 10),
    ]


def test_waits_between_tries_are_separate_from_the_tries() -> None:
    tree = run(stage("a", tried(1, 0, 1, 3), tried(2, 3, 4)), begin_s=0, end_s=4)
    assert timing_of(tree).waits_s == 2
    assert steps(tree) == [("stage", "a", 0, 1), ("wait", "a", 1, 3), ("stage", "a", 3, 4)]
    assert [step.number for step in timing_of(tree).path] == [1, 1, 2]


def test_stages_that_overlap_count_once() -> None:
    tree = run(stage("a", tried(1, 0, 5)), stage("b", tried(1, 3, 8)), begin_s=0, end_s=8)
    assert timing_of(tree).stages_s == 8


def test_critical_path_follows_needs_not_end_times() -> None:
    tree = run(
        stage("build", tried(1, 0, 2)),
        stage("docs", tried(1, 0, 4.9)),
        stage("test", tried(1, 2, 5), needs=("build",)),
        stage("pack", tried(1, 5, 8), needs=("test", "build")),
        begin_s=0,
        end_s=8,
    )
    assert [step[:2] for step in steps(tree)] == [
        ("stage", "build"),
        ("stage", "test"),
        ("stage", "pack"),
    ]


def test_stage_without_needs_begins_the_critical_path() -> None:
    late = stage("late", tried(1, 3, 9))
    tree = run(stage("early", tried(1, 0, 3)), late, begin_s=0, end_s=9)
    assert steps(tree) == [("overhead", None, 0, 3), ("stage", "late", 3, 9)]


def test_stage_that_waited_for_max_parallel_follows_the_stage_that_ended() -> None:
    tree = run(
        stage("a", tried(1, 0, 2)),
        stage("b", tried(1, 2, 5)),
        stage("c", tried(1, 5, 6), needs=("a",)),
        begin_s=0,
        end_s=6,
        max_parallel=1,
    )
    assert steps(tree) == [("stage", "a", 0, 2), ("stage", "b", 2, 5), ("stage", "c", 5, 6)]


def test_critical_path_passes_through_reused_needs() -> None:
    tree = run(
        stage("a", tried(1, 0, 2)),
        stage("reused", needs=("a",)),
        stage("c", tried(1, 2, 6), needs=("reused",)),
        begin_s=0,
        end_s=6,
    )
    assert steps(tree) == [("stage", "a", 0, 2), ("stage", "c", 2, 6)]


def test_circular_needs_in_edited_records_do_not_break_readers() -> None:
    stages = (
        stage("a", tried(1, 0, 2), needs=("b",)),
        stage("b", tried(1, 2, 4), needs=("a", "gone")),
    )
    tree = run(*stages, begin_s=0, end_s=4)
    assert sum(end - begin for *_, begin, end in steps(tree)) == 4


@pytest.mark.fault("V11")
def test_timing_costs_operations_in_proportion_to_the_number_of_stages() -> None:
    def work_for(count: int) -> int:
        stages = in_a_row(*(stage(f"s{n}", tried(1, n, n + 1)) for n in range(count)))
        tree = run(*stages, begin_s=0, end_s=count)
        return operations_of(lambda: (list(timing_lines(tree, None)), timing_json(tree)))

    assert work_for(800) < 2.2 * work_for(400)


def test_critical_path_includes_child_runs() -> None:
    child = run(stage("x", tried(1, 2, 5)), accepted_s=1.5, begin_s=2, end_s=5.5, number=2)
    tree = run(stage("sub", run=child, span=Span(1, 6)), begin_s=1, end_s=6)
    assert steps(tree) == [
        ("queue", None, 0, 1),
        ("overhead", None, 1, 1.5),
        ("queue", None, 1.5, 2),
        ("stage", "x", 2, 5),
        ("overhead", None, 5, 5.5),
        ("overhead", None, 5.5, 6),
    ]
    assert timing_json(tree)["stages"][0]["run"]["queued_s"] == 0.5


def test_wait_for_slots_is_separate_from_overhead() -> None:
    waiting = replace(stage("b", tried(1, 4, 6)), slot_wait=Span(2, 4))
    tree = run(*in_a_row(stage("a", tried(1, 0, 1)), waiting), begin_s=0, end_s=6)
    assert steps(tree) == [
        ("stage", "a", 0, 1),
        ("overhead", None, 1, 2),
        ("slots", "b", 2, 4),
        ("stage", "b", 4, 6),
    ]


spans = st.tuples(st.integers(0, 50), st.integers(0, 20)).map(
    lambda pair: (float(pair[0]), float(pair[0] + pair[1]))
)


@given(st.lists(spans, max_size=8), st.sampled_from([None, 1]))
def test_critical_path_has_no_gap_and_is_as_long_as_the_run(
    ends: list[tuple[float, float]], limit: int | None
) -> None:
    stages = [stage(f"s{n}", tried(1, *pair)) for n, pair in enumerate(ends)]
    end_s = max((end for _, end in ends), default=0.0) + 1
    tree = run(*in_a_row(*stages), begin_s=0.0, end_s=end_s, max_parallel=limit)
    path = timing_of(tree).path
    assert sum(step.span.length_s for step in path) == pytest.approx(timing_of(tree).total_s)
    assert all(a.span.end_s == b.span.begin_s for a, b in pairwise(path))


@given(st.lists(spans, max_size=8))
def test_covered_seconds_count_overlaps_once(ends: list[tuple[float, float]]) -> None:
    seconds = {s for begin, end in ends for s in range(int(begin), int(end))}
    assert covered_s(Span(*pair) for pair in ends) == len(seconds)


def test_queued_run_has_only_queue_time() -> None:
    tree = run(begin_s=7, end_s=7)
    waiting = type(tree)(
        **{name: getattr(tree, name) for name in tree.__slots__} | {"span": None}  # type: ignore[arg-type]
    )
    assert (timing_of(waiting).total_s, timing_of(waiting).queued_s) == (7, 7)


def test_timing_table_fits_eighty_columns_and_is_ascii() -> None:
    child = run(stage("x" * 60, tried(1, 2, 5)), accepted_s=1.5, begin_s=2, end_s=5.5, number=2)
    tree = run(stage("s" * 60, run=child, span=Span(1, 6)), begin_s=1, end_s=60)
    lines = list(timing_lines(tree, 80))
    assert max(map(len, lines)) <= 80
    assert all(line.isascii() for line in lines)


def fact(seq: int, at: str, mono_s: float) -> Fact:
    return Fact(seq=seq, at=f"2025-10-31T22:{at}Z", mono_s=mono_s, event="warning", by="worker")


def test_wall_clock_counts_only_across_reboots() -> None:
    facts = [
        fact(1, "00:00.000", 1000.0),
        fact(2, "50:00.000", 1001.0),  # the clock was set forward
        fact(3, "10:00.000", 1003.0),  # and back
        fact(4, "10:30.000", 5.0),  # another boot
        fact(5, "10:31.000", 6.0),
    ]
    assert list(place_facts(facts, 2.0, None).values()) == [2, 3, 5, 35, 36]
    assert place_after(1.0, Instant("damaged", None), Instant("damaged", None)) == 1.0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0, "0.00s"),
        (9.994, "9.99s"),
        (9.996, "10.0s"),
        (59.94, "59.9s"),
        (59.96, "1m 00s"),
        (63, "1m 03s"),
        (119.6, "2m 00s"),
        (3599.6, "1h 00m"),
        (47 * 3600, "47h 00m"),
        (49 * 3600, "2d 01h"),
    ],
)
def test_durations_for_people(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text

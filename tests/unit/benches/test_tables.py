"""The figures of benches: ratios, goals, skipped peers, and the page that shows them."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from benches import __main__ as program
from benches import peers, report, runs, table
from benches.measure import Figures, rounds
from benches.peers import find
from benches.programs import stamps
from benches.row import Missing, Point, Row, from_json, plain_row, point, ratio_row, worst_row
from benches.steady import growth

DOCS = Path(__file__).parents[3] / "docs/explanation"


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that has none of the peers."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("BENCH_PEERS", str(tmp_path / "nothing"))


def test_a_ratio_is_the_median_of_ratios_round_by_round() -> None:
    figures = Figures(ours=(1.0, 9.0, 4.0), peer=(2.0, 3.0, 4.0))  # 0.5, 3, 1: of medians 1.33
    row = ratio_row("a", "b", "ms", figures, 1.0)
    assert (row.value, row.low, row.high) == (1.0, 0.5, 3.0)
    assert (row.ours, row.theirs) == (4.0, 3.0)


def test_rounds_alternate_and_the_first_does_not_count() -> None:
    order: list[str] = []

    def measure(who: str) -> float:
        order.append(who)
        return float(len(order))

    figures = rounds(2, lambda: measure("ours"), lambda: measure("peer"))
    assert order == ["peer", "ours", "ours", "peer", "ours", "peer"]
    assert (figures.ours, figures.peer) == ((3.0, 5.0), (4.0, 6.0))


@pytest.mark.parametrize(("value", "met"), [(0.99, True), (1.0, True), (1.01, False)])
def test_a_goal_is_met_up_to_and_with_its_value(value: float, met: bool) -> None:
    assert plain_row("a", "s", [value], 1.0).is_met is met
    assert table.cells(plain_row("a", "s", [value], 1.0))[-1] == ("met" if met else "NOT MET")


def test_without_a_goal_nothing_is_met_or_missed() -> None:
    row = plain_row("a", "s", [3.0, 1.0, 2.0])
    assert (row.value, row.low, row.high, row.is_met) == (2.0, 1.0, 3.0, None)
    assert table.cells(row)[-2:] == ("", "")


def test_the_worst_row_holds_the_largest_against_the_goal() -> None:
    assert worst_row("a", "s", [1.0, 3.0, 2.0], 2.0).is_met is False


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize("name", ["parallel", "tsp", "supervisord", "circusd", "pm2"])
def test_a_peer_that_is_not_there_is_missing_by_name(name: str) -> None:
    with pytest.raises(Missing, match=peers.TITLES[name]):
        find(name)


@pytest.mark.usefixtures("bare")
def test_without_peers_every_row_of_the_group_is_skipped_and_nothing_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(program.GROUPS, "runs", runs.rows)
    assert program.main(["runs", "--json", "--rounds", "1"]) == 0
    found = [from_json(row) for row in json.loads(capsys.readouterr().out)["rows"]]
    assert found
    assert all(row.skipped and row.is_met is None for row in found)
    skipped = {row.peer: row.skipped for row in found}
    assert skipped["GNU parallel"] == "GNU parallel is not installed"
    assert skipped["bare spawn"] == "no C compiler"
    assert table.cells(found[0])[-1] == "skipped: GNU parallel is not installed"


def test_what_goes_wrong_is_told_and_the_rest_is_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_rounds: int) -> list[Row]:
        raise RuntimeError("49 of 50 jobs")

    monkeypatch.setitem(program.GROUPS, "runs", lambda n: iter(broken(n)))
    monkeypatch.setitem(program.GROUPS, "live", lambda _: iter([plain_row("b", "s", [1.0])]))
    assert program.main(["runs", "live", "--json"]) == 1
    said = capsys.readouterr()
    assert [row["name"] for row in json.loads(said.out)["rows"]] == ["b"]
    assert "runs failed: 49 of 50 jobs" in said.err


def test_an_interrupted_run_tells_what_it_has(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_rounds: int) -> Iterator[Row]:
        yield plain_row("a", "s", [1.0])
        raise KeyboardInterrupt

    monkeypatch.setitem(program.GROUPS, "live", interrupted)
    assert program.main(["live", "runs", "--json"]) == 1
    assert [row["name"] for row in json.loads(capsys.readouterr().out)["rows"]] == ["a"]


@pytest.mark.parametrize(
    ("looks", "descriptors", "memory"),
    [
        ([(9, 100), (10, 100), (9, 102), (9, 100)], 0.0, 1.01),  # one was open for a moment
        ([(9, 100), (10, 110), (11, 120), (12, 130)], 2.0, 1.19),
    ],
)
def test_growth_is_between_the_halves(
    looks: list[tuple[int, int]], descriptors: float, memory: float
) -> None:
    files, size = growth("x", looks)
    assert (files.value, round(size.value, 2)) == (descriptors, memory)


def test_an_unknown_group_is_a_usage_error() -> None:
    with pytest.raises(SystemExit) as caught:
        program.main(["nothing"])
    assert caught.value.code == 2


def test_a_row_survives_json() -> None:
    row = ratio_row("a", "b", "ms", Figures(ours=(1.0,), peer=(2.0,)), 0.7)
    assert from_json(json.loads(json.dumps(row.to_json()))) == row


def test_of_two_records_the_later_row_counts_in_the_place_of_the_first() -> None:
    def made(machine: str, *found: Row | Point) -> dict[str, object]:
        return report.record({"commit": machine}, found)

    first = made("1", plain_row("a", "s", [1.0]), plain_row("b", "s", [1.0]))
    second = made("2", plain_row("a", "s", [2.0]), point("cost", "ours", 1, [3.0]))
    found = report.merged([first, second])
    assert [(row["name"], row["value"]) for row in found["rows"]] == [("a", 2.0), ("b", 1.0)]
    assert [m["commit"] for m in found["machines"]] == ["1", "2"]
    assert found["points"][0]["y"] == 3.0


def test_stamps_are_read_by_run_and_those_that_wait_do_not_count(tmp_path: Path) -> None:
    (tmp_path / "stamps").write_text("ready a\nready b\n1.5 a\n")
    assert stamps(tmp_path / "stamps") == {"a": 1.5}
    (tmp_path / "stamps").write_text("1.5 -\n2.5 -\n")
    assert list(stamps(tmp_path / "stamps").values()) == [1.5, 2.5]
    assert stamps(tmp_path / "nothing") == {}


def test_the_page_shows_the_record_beside_it_and_nothing_else() -> None:
    page = (DOCS / "performance.md").read_text()
    found = json.loads((DOCS / "performance.json").read_text())
    assert page == report.page_with(page, report.figures(found))
    assert report.figures(found) in page


def test_the_same_record_gives_the_same_pictures(tmp_path: Path) -> None:
    try:
        python = find("python")
    except Missing as error:
        pytest.skip(str(error))
    found = report.record({}, [point("cost", "ours", n, [1.0 * n, 2.0]) for n in (1, 10)])
    (tmp_path / "record").write_text(json.dumps(found))
    drawn = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        words = [python, "-m", "benches.pictures", tmp_path / "record", tmp_path / name]
        subprocess.run(words, check=True, cwd=DOCS.parents[1])
        drawn.append((tmp_path / name / "performance-cost.svg").read_bytes())
    assert drawn[0] == drawn[1]
    assert b"CPU per run" in drawn[0]


def test_the_page_names_every_group_and_no_other() -> None:
    page = (DOCS / "performance.md").read_text()
    section = page.partition("## Measuring")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == set(program.GROUPS)

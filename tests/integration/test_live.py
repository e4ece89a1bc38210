"""Terminals: drawn in place, fitted to the size, erased at the end."""

import os
import signal
from pathlib import Path

import pytest

from supervisor.report.read.run_rows import Row
from supervisor.report.terminal.run_table import Line, fit_lines, fit_table, table_lines
from tests.root import Root, wait_until
from tests.screen import Seat, seat

HOLD = """
[pipelines.hold]
[[pipelines.hold.stages]]
id = "first"
command = "true"
[[pipelines.hold.stages]]
id = "second"
command = "until test -e go; do sleep 0.05; done; test ! -e fail"
"""


def heads(lines: list[str]) -> int:
    return sum(" done  " in line for line in lines)


def working(lines: list[str]) -> int:
    return sum("2/2 second" in line for line in lines)


def at_work(place: Seat) -> int:
    return sum("in_progress" in line for line in place.screen.in_sight())


def test_start_draws_running_runs_in_place_and_erases_them_at_the_end(root: Root) -> None:
    root.configure(HOLD, "max_runs = 3\n")
    root.write("batch.toml", '[[runs]]\npipeline = "hold"\ncount = 5\n')
    with seat(root.path, "start", "--once", "--batch", "batch.toml") as place:
        lines = place.until(lambda seen: working(seen) == 3, "three runs are at their stage")
        assert heads(lines) == 1
        assert "0/5 done  3 running  2 queued  0 failed" in lines[0]
        drawn = len(place.got)
        place.until(lambda _: len(place.got) > drawn + 2_000, "it was drawn some times more")
        assert heads(place.screen.text()) == 1, "in place"
        root.write("go", "")
        assert place.end() == 0
        lines = place.screen.text()
    assert heads(lines) == 0, "what was drawn is gone"
    assert [line.split()[0] for line in lines[:5]] == ["succeeded"] * 5
    assert lines[5].startswith("5 runs in ")
    assert lines[6].startswith("records of default: ")


def test_resized_terminal_shows_one_picture(root: Root) -> None:
    root.configure(HOLD)
    with seat(root.path, "start", "--once", *["hold"] * 12, columns=100, rows=30) as place:
        place.until(lambda seen: working(seen) == 12, "all are at their stage")
        for columns, rows, shown in ((60, 20, 7), (72, 40, 12), (56, 10, 2), (120, 40, 12)):
            place.resize(columns, rows)
            place.until(
                lambda _, n=shown: at_work(place) == n,  # type: ignore[misc]
                f"a picture of {columns} columns",
            )
            lines = place.screen.in_sight()
            assert heads(lines) == 1
            assert max(map(len, lines)) < columns
            assert len(lines) <= rows
        root.write("go", "")
        assert place.end() == 0


def test_finished_runs_and_their_reasons_stay_above_running_ones(root: Root) -> None:
    root.configure(
        HOLD + '[pipelines.bad]\nstages = [{ id = "s", command = "echo why >&2; exit 3" }]\n'
    )
    with seat(root.path, "start", "--once", "hold", "bad") as place:
        lines = place.until(
            lambda seen: working(seen) == 1 and ":failed" in seen[0], "one failed, one is at work"
        )
        assert "stage:s:failed" in lines[0]
        assert lines[1].strip() == "s: exit code 3: why"
        assert "1/2 done  1 running  0 queued  1 failed" in lines[2]
        assert {"31", "36"} <= place.screen.colours, "red and cyan"
        root.write("go", "")
        assert place.end() == 10


def test_terminal_without_cursor_movement_gets_plain_lines(root: Root) -> None:
    with seat(root.path, "start", "--once", "p", env={"TERM": "dumb"}) as place:
        root.configure('[pipelines.p]\nstages = [{ id = "s", command = "true" }]\n')
        place.end()
        assert b"\x1b" not in place.got


def test_watch_draws_on_the_alternate_screen_and_restores_the_terminal(root: Root) -> None:
    root.configure(HOLD)
    process = root.serving()
    run_id = root.call("submit", "hold").out.strip()
    with seat(root.path, "status", "--watch", columns=80, rows=12) as place:
        lines = place.until(lambda seen: working(seen) == 1, "the run is shown")
        assert place.screen.alternate
        assert lines[1] == "1 running"
        for _ in range(12):
            root.call("submit", "hold")
        lines = place.until(lambda seen: "13 running" in seen[1], "all are counted")
        lines = place.until(lambda seen: "more: " in seen[-1], "and those that do not fit")
        assert len(lines) == 12
        place.resize(50, 8)
        lines = place.until(lambda seen: len(seen) == 8 and "more: " in seen[-1], "it fits again")
        assert max(map(len, lines)) <= 50
        place.process.send_signal(signal.SIGTERM)
        assert place.end() == 143
        assert not place.screen.alternate
        assert place.screen.text() == [""]
        assert place.got.endswith(b"\x1b[?25h\x1b[?1049l"), "the cursor is back, too"
    root.write("go", "")
    assert root.call("wait", run_id).code == 0
    root.stop(process)


def test_watch_of_a_run_ends_with_it_and_prints_its_tree(root: Root) -> None:
    root.configure(HOLD)
    process = root.serving()
    run_id = root.call("submit", "hold").out.strip()
    root.write("fail", "")
    with seat(root.path, "status", "--watch", run_id) as place:
        place.until(lambda seen: any("`- second" in line for line in seen), "its tree is shown")
        root.write("go", "")
        assert place.end() == 3
        lines = place.screen.text()
    assert lines[0].startswith(f"{run_id}  failed")
    assert lines[-2].split()[:3] == ["`-", "second", "failed"]
    root.stop(process)


@pytest.mark.parametrize("as_json", [False, True])
def test_watch_in_a_pipe_prints_each_change_as_a_line(root: Root, as_json: bool) -> None:
    root.configure(HOLD)
    process = root.serving()
    run_id = root.call("submit", "hold").out.strip()
    watching = root.popen("status", "--watch", run_id, *["--json"] * as_json)
    wait_until(lambda: "2/2" in root.call("status").out, "the run is at its second stage")
    assert watching.stdout is not None
    first = watching.stdout.readline()
    root.write("go", "")
    done = root.finish(watching)
    assert done.code == 0
    assert run_id in first
    told = [first, *done.out.splitlines()]
    assert "succeeded" in told[-1]
    assert "\x1b" not in "".join(told)
    assert len(told) <= 4, "only changes are told"
    root.stop(process)


def test_watch_without_reader_ends(root: Root) -> None:
    root.configure()
    assert root.call("run", "--", "true").code == 0
    watching = root.popen("status", "--watch")
    assert watching.stdout is not None
    assert "succeeded" in watching.stdout.readline()
    watching.stdout.close()
    assert watching.wait(60) == 141
    assert watching.stderr is not None
    assert watching.stderr.read() == ""


def row(number: int, status: str, **about: object) -> Row:
    facts = {"note": None, "started_at": None, "duration_s": 1.5, **about}
    run_id = f"2025-10-31T22-56-34-431Z-{number:08x}"
    return Row(run_id=run_id, task_id="t", pipeline_id="p", status=status, **facts)  # type: ignore[arg-type]


def test_picture_has_active_runs_first_and_counts_what_does_not_fit() -> None:
    rows = [row(n, "succeeded") for n in range(9)]
    rows += [row(20 + n, "queued") for n in range(3)] + [row(40 + n, "in_progress") for n in (0, 1)]
    lines = [str(line) for line in fit_table(Line("head"), rows, columns=80, height=8)]
    assert len(lines) == 8
    assert [line.split()[3] for line in lines[2:7]] == ["in_progress"] * 2 + ["queued"] * 3
    assert lines[7] == "... and more: 9 succeeded"
    for height in range(1, 20):
        shown = fit_table(Line("head"), rows, columns=40, height=height)
        assert len(shown) <= height
        assert all(len(str(line)) <= 40 for line in shown)
    assert [str(x) for x in fit_lines([Line("a"), Line("b"), Line("c")], columns=80, height=2)] == [
        "a",
        "... and more: 2 lines",
    ]


def test_foreign_text_in_a_table_is_clean_and_wide_characters_count_twice() -> None:
    lines = table_lines([row(1, "failed", note="\x1b[2J\u6f22" * 40)], 80)
    assert "\x1b" not in str(lines[1])
    assert str(lines[1]).count("\u6f22") + len(str(lines[1])) <= 80


def test_status_json_has_the_progress_of_runs(root: Root) -> None:
    root.configure(HOLD)
    process = root.serving()
    run_id = root.call("submit", "hold").out.strip()

    def second() -> bool:
        text = Path(root.layout.status).read_text()
        return '"second"' in text and run_id in text

    wait_until(second, "the view tells the stage")
    root.write("go", "")
    assert root.call("wait", run_id).code == 0
    root.stop(process)
    assert os.path.exists(root.layout.status)

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.config.load import load_config
from supervisor.config.run_specs import SpecBuilder
from tests.root import Root, root_in, wait_until
from tests.screen import seat
from workers.records.request import Request, RequestKind, publish

PIPELINES = """
[pipelines.checks]
[[pipelines.checks.stages]]
id = "flaky"
command = "test $SUPERVISED_TRY -ge 3"
retries = { attempts = 3, delay_s = 0.05 }
[[pipelines.checks.stages]]
id = "advice"
command = "exit 3"
allow_failure = true

[pipelines.release]
[[pipelines.release.stages]]
id = "checks"
pipeline = "checks"
[[pipelines.release.stages]]
id = "upload"
command = "seq 1 30; printf 'no \\\\033[2Jroute\\\\n' >&2; kill -9 $$"
[[pipelines.release.stages]]
id = "never"
command = "true"
"""


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Root]:
    """A root with a run that failed after its child run succeeded."""
    with root_in(tmp_path_factory.mktemp("status") / "root") as made:
        made.configure(PIPELINES)
        assert made.call("start", "--once", "release").code == 10
        yield made


def test_run_is_a_tree_with_tries_child_runs_and_error_output(
    released: Root,
) -> None:
    done = released.call("status", "latest")
    assert (done.code, done.err) == (3, "")
    shown = re.sub(r"\d+\.\d+s", "TIME", re.sub(r"(?<=checks )[0-9a-f]{8}", "CHILD", done.out))
    shown = re.sub(r" +TIME", " TIME", re.sub(r"^\S+Z-[0-9a-f]{8}", "RUN", shown))
    tail = "".join(f"|  stdout | {number}\n" for number in range(21, 31))
    assert shown == (
        "RUN  failed TIME  default  release\n"
        "  stage:upload:failed - upload: ended by SIGKILL (out of memory?): no route\n"
        "|- checks  succeeded TIME  checks CHILD\n"
        "|  |- flaky   succeeded TIME  3 tries\n"
        "|  `- advice  skipped TIME  exit 3\n"
        "|- upload  failed TIME  SIGKILL\n"
        f"{tail}"
        "|  stderr | no \\x1b[2Jroute\n"
        "`- never   pending            -\n"
    )


def test_tree_as_json_has_seconds_and_nested_runs(released: Root) -> None:
    report = released.call("status", "latest", "--json").json()
    assert report["schema"] == "pipeline-supervisor/status-report/1"
    (run,) = report["runs"]
    checks, upload, never = run["stages"]
    flaky, advice = checks["run"]["stages"]
    assert (flaky["tries_count"], flaky["status"]) == (3, "succeeded")
    assert flaky["duration_s"] >= 0.1, "the waits between its tries are in it"
    assert (advice["exit_code"], advice["status"]) == (3, "skipped")
    assert (upload["signal"], upload["exit_code"]) == ("SIGKILL", None)
    assert upload["last_lines"][-1] == {"stream": "stderr", "text": "no \\x1b[2Jroute"}
    assert checks["begin_s"] <= flaky["begin_s"] <= advice["begin_s"] <= upload["begin_s"]
    assert (never["begin_s"], never["duration_s"], never["run"]) == (None, None, None)


def test_deleted_child_run_is_named_and_the_rest_is_shown(released: Root, tmp_path: Path) -> None:
    child = released.call("status", "latest", "--json").json()["runs"][0]["stages"][0]["run"]
    directory = Path(released.layout.run_dir("default", child["run_id"]).path)
    directory.rename(tmp_path / "away")
    try:
        done = released.call("status", "latest")
    finally:
        (tmp_path / "away").rename(directory)
    assert done.code == 3
    assert "|  unreadable: its directory is gone\n" in done.out


def test_run_without_journal_is_shown_from_its_manifest(released: Root, tmp_path: Path) -> None:
    run_id = released.call("status", "latest", "--json").json()["runs"][0]["run_id"]
    journal = Path(released.layout.run_dir("default", run_id).journal)
    journal.rename(tmp_path / "journal")
    try:
        run = released.call("status", "latest", "--json").json()["runs"][0]
    finally:
        (tmp_path / "journal").rename(journal)
    assert [stage["status"] for stage in run["stages"]] == ["succeeded", "failed", "pending"]
    assert run["stages"][0]["duration_s"] >= 0.1


@pytest.mark.parametrize("words", [["status"], ["status", "latest"]], ids=" ".join)
@pytest.mark.parametrize("columns", [60, 80, 200])
def test_no_line_is_wider_than_the_terminal(released: Root, words: list[str], columns: int) -> None:
    with seat(released.path, *words, columns=columns) as place:
        assert place.end() == 3
        lines = place.screen.text()
        assert all(len(line) <= columns for line in lines)
        assert lines[-1] == "", "nothing was wrapped into the next line"
        assert "31" in place.screen.colours
    in_pipe = released.call(*words).out.splitlines()
    wrapped = (len(in_pipe[0]) - 1) // columns if words == ["status"] else 0  # the root's path
    assert len(lines) == len(in_pipe) + wrapped + 1, "one row for each line"


def test_terminal_shows_the_count_of_further_queued_runs_and_a_pipe_gets_all(root: Root) -> None:
    root.configure('[pipelines.p]\nstages = [{ id = "s", command = "true" }]\n')
    root.write("batch.toml", '[[runs]]\npipeline = "p"\ncount = 25\n')
    given = load_config(str(root.path), None)
    asking = SpecBuilder(settings=given.settings, asked_by="submit")
    batch = given.batch(str(root.path / "batch.toml"))
    assert batch is not None
    runs = tuple(asking.batch(batch, None))
    publish(root.layout, Request(kind=RequestKind.RUNS, runs=runs))
    with seat(root.path, "status") as place:
        assert place.end() == 0
        lines = place.screen.text()
    assert len([line for line in lines if "queued" in line]) == 21
    assert "... and more: 5 queued" in lines
    assert root.call("status").out.count("queued") == 25


def test_colours_are_for_terminals_without_no_color(released: Root) -> None:
    assert "\x1b" not in released.call("status").out
    for env in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        with seat(released.path, "status", env=env) as place:
            assert place.end() == 3
            assert b"\x1b" not in place.got


def test_ascii_locale_breaks_nothing(root: Root) -> None:
    done = root.call("run", "--", "sh", "-c", "echo h\u00e4tte >&2; exit 1")
    assert done.code == 10
    ascii_only = {"PYTHONIOENCODING": "ascii"}
    for words in (["status"], ["status", "latest"], ["show", "latest"]):
        done = root.call(*words, env=ascii_only)
        assert done.code == (0 if words[0] == "show" else 3), done.err
        assert done.out.isascii()
    assert "h\\xe4tte" in done.out


def test_run_in_the_inbox_has_a_tree(root: Root) -> None:
    root.configure(PIPELINES)
    run_id = root.call("submit", "release").out.strip()
    done = root.call("status", run_id)
    assert done.code == 0
    assert done.out.splitlines()[0].split()[:2] == [run_id, "queued"]
    assert done.out.splitlines()[1].startswith("  queued for ")
    assert [line.split()[2] for line in done.out.splitlines()[2:]] == ["pending"] * 3


def test_running_run_shows_its_progress(root: Root) -> None:
    root.configure(
        "[pipelines.p]\nstages = [{ id = 'a', command = 'true' }, "
        "{ id = 'b', command = 'until test -e go; do sleep 0.05; done' }]\n"
    )
    process = root.serving()
    run_id = root.call("submit", "p").out.strip()
    wait_until(lambda: "2/2 b" in root.call("status").out, "it is at its second stage")
    row = root.call("status", "--json").json()["runs"][0]
    assert (row["running"], row["stages_ended_count"], row["stages_count"]) == (["b"], 1, 2)
    tree = root.call("status", run_id)
    assert tree.code == 0
    assert re.search(r"^`- b +running +\d", tree.out, re.MULTILINE)
    root.write("go", "")
    assert root.call("wait", run_id).code == 0
    assert json.loads(root.call("status", "--json").out)["runs"][0]["running"] == []
    root.call("stop")
    root.finish(process)


def test_show_timing_shows_where_the_time_went(released: Root) -> None:
    done = released.call("show", "latest", "--timing")
    assert (done.code, done.err) == (0, "")
    for words in ("queued", "overhead", "waits between tries", "critical path:", "flaky, try 2"):
        assert words in done.out
    timing = released.call("show", "latest", "--timing", "--json").json()
    assert timing["schema"] == "pipeline-supervisor/timing/1"
    sums = timing["queued_s"] + timing["stages_s"] + timing["overhead_s"]
    assert sums == pytest.approx(timing["total_s"], abs=0.01)
    path = timing["critical_path"]
    assert sum(step["duration_s"] for step in path) == pytest.approx(timing["total_s"], abs=0.02)
    assert timing["waits_s"] == pytest.approx(0.15, abs=0.1)
    checks = timing["stages"][0]
    assert [t["status"] for t in checks["run"]["stages"][0]["tries"]] == [
        "failed",
        "failed",
        "succeeded",
    ]

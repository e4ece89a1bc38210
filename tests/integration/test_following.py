"""Following output and facts: each byte and each fact once, to the end, without locks."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.commands.logs import last_lines
from supervisor.report.read.follow_run import OutputChunk
from supervisor.report.read.journal_follower import JournalFollower, RootFacts
from tests.root import Root, root_in, wait_until
from tests.screen import seat
from workers.records.clock import SystemClock
from workers.records.journal import Event, JournalWriter

PIPELINES = """
[pipelines.child]
[[pipelines.child.stages]]
id = "flaky"
command = "echo try $SUPERVISED_TRY; test $SUPERVISED_TRY -ge 3"
retries = { attempts = 3, delay_s = 0.02 }

[pipelines.parent]
[[pipelines.parent.stages]]
id = "before"
command = "echo before; echo aside >&2"
[[pipelines.parent.stages]]
id = "sub"
pipeline = "child"
[[pipelines.parent.stages]]
id = "after"
command = "seq 1 5"
"""
OUTPUT = ["before", "try 1", "try 2", "try 3", "1", "2", "3", "4", "5"]

STEPS = """
[pipelines.steps]
[[pipelines.steps.stages]]
id = "one"
command = "echo begun; until test -e go1; do sleep 0.02; done; echo one"
[[pipelines.steps.stages]]
id = "two"
command = "until test -e go2; do sleep 0.02; done; echo two"
"""


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Root]:
    """A root with one run of a parent and its sub-pipeline."""
    with root_in(tmp_path_factory.mktemp("following") / "root") as made:
        made.configure(PIPELINES)
        assert made.call("start", "--once", "parent").code == 0
        yield made


def test_logs_have_every_try_once_and_child_output_in_its_place(done: Root) -> None:
    shown = done.call("logs", "latest")
    assert (shown.code, shown.err) == (0, "aside\n")
    assert shown.out.splitlines() == OUTPUT
    assert done.call("logs", "latest", "sub").out.splitlines() == OUTPUT[1:4]
    assert done.call("logs", "-f", "latest").out.splitlines() == OUTPUT


def test_logs_of_one_stream_go_to_stdout_and_tail_counts_shown_lines(done: Root) -> None:
    shown = done.call("logs", "latest", "--stream", "stderr")
    assert (shown.out, shown.err) == ("aside\n", "")
    assert done.call("logs", "latest", "--stream", "stdout", "--tail", "6").out.splitlines() == [
        "try 3",
        *"12345",
    ]
    shown = done.call("logs", "latest", "--tail", "0")
    assert (shown.out, shown.err) == ("", "")


def test_each_stage_is_named_on_a_terminal(done: Root) -> None:
    with seat(done.path, "logs", "latest") as place:
        assert place.end() == 0
        lines = place.screen.text()
    heads = [line for line in lines if line.startswith("---")]
    assert heads == ["--- before ---", "--- sub/flaky ---", "--- after ---"]


@pytest.mark.parametrize("count", range(6))
def test_last_lines_are_counted_across_chunks(count: int) -> None:
    pieces = [
        OutputChunk("a", "stdout", b"1\n2\n", 7),
        OutputChunk("a", "stderr", b"3\n"),
        OutputChunk("b", "stdout", b"4\n5"),
    ]
    lines = b"".join(p.data for p in last_lines(pieces, count)).splitlines()
    assert lines == [b"1", b"2", b"3", b"4", b"5"][5 - count :]


def test_logs_follow_every_stage_to_the_end_of_the_run(root: Root) -> None:
    root.configure(STEPS)
    run_id = root.call("submit", "steps").out.strip()
    following = root.popen("logs", "-f", run_id)
    assert following.stdout is not None
    process = root.serving()
    assert following.stdout.readline() == "begun\n"
    root.write("go1", "")
    assert following.stdout.readline() == "one\n"
    root.write("go2", "")
    assert root.finish(following).out == "two\n"
    assert following.returncode == 0
    root.stop(process)


def test_parallel_stages_are_followed_in_parallel(root: Root) -> None:
    hold = "until test -e go; do sleep 0.02; done"
    root.configure(
        "[pipelines.both]\nstages = [\n"
        f"  {{ id = 'a', command = 'echo a1; {hold}; echo a2', needs = [] }},\n"
        f"  {{ id = 'b', command = 'echo b1; {hold}; echo b2', needs = [] }},\n]\n"
    )
    process = root.serving()
    run_id = root.call("submit", "both").out.strip()
    following = root.popen("logs", "-f", run_id)
    assert following.stdout is not None
    assert {following.stdout.readline() for _ in range(2)} == {"a1\n", "b1\n"}
    assert root.call("status", run_id, "--json").json()["runs"][0]["running"] == ["a", "b"]
    root.write("go", "")
    assert set(root.finish(following).out.splitlines()) == {"a2", "b2"}
    assert set(root.call("logs", run_id).out.splitlines()) == {"a1", "a2", "b1", "b2"}
    timing = root.call("show", run_id, "--timing", "--json").json()
    lengths = [stage["duration_s"] for stage in timing["stages"]]
    assert max(lengths) <= timing["stages_s"] < sum(lengths), "what overlaps counts once"
    root.stop(process)


def test_follower_without_reader_ends_silently(root: Root) -> None:
    root.configure(STEPS)
    process = root.serving()
    run_id = root.call("submit", "steps").out.strip()
    wait_until(lambda: "begun" in root.call("logs", run_id).out, "it has said something")
    for words in (["logs", "-f", run_id], ["events", "-f", run_id], ["events", "-f"]):
        following = root.popen(*words)
        assert following.stdout is not None
        assert following.stderr is not None
        following.stdout.readline()
        following.stdout.close()
        assert following.wait(60) == 141
        assert following.stderr.read() == ""
    assert root.call("cancel", run_id).code == 0
    root.stop(process)


def test_logs_of_a_deleted_run_end_with_a_message(root: Root) -> None:
    root.configure(STEPS)
    process = root.serving()
    run_id = root.call("submit", "steps").out.strip()
    following = root.popen("logs", "-f", run_id)
    assert following.stdout is not None
    assert following.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGKILL)  # it would restore the directory
    process.wait()
    directory = Path(root.layout.run_dir("default", run_id).path)
    directory.rename(root.path / "away")
    done = root.finish(following)
    assert done.code == 0
    assert "is gone" in done.err


def test_events_of_runs_are_their_journals(done: Root) -> None:
    rows = done.call("status", "--json").json()["runs"]
    for ids in ([rows[0]["run_id"]], [row["run_id"] for row in rows]):
        events = done.call("events", *ids).json_lines()
        assert {e["schema"] for e in events} == {"pipeline-supervisor/event/1"}
        assert {e["task_id"] for e in events} == {"default"}
        for run_id in ids:
            mine = [e for e in events if e["run_id"] == run_id]
            head = ("schema", "task_id", "run_id")
            told = [{k: v for k, v in e.items() if k not in head} for e in mine]
            assert told == done.events(run_id)
    assert [e["at"] for e in events] == sorted(e["at"] for e in events)
    assert done.call("events").out == "", "no run is active"


def test_followed_events_come_once_and_end_with_the_last_verdict(
    root: Root,
) -> None:
    root.configure(STEPS)
    ids = [root.call("submit", "steps").out.strip() for _ in range(2)]
    following = root.popen("events", "-f", *ids)
    process = root.serving()
    root.write("go1", "")
    root.write("go2", "")
    done = root.finish(following)
    events = done.json_lines()
    for run_id in ids:
        mine = [e["seq"] for e in events if e["run_id"] == run_id]
        assert mine == [e["seq"] for e in root.events(run_id)]
    assert events[-1]["event"] == "verdict"
    root.stop(process)


def test_events_of_a_root_include_even_the_shortest_run(
    root: Root,
) -> None:
    root.configure('[pipelines.q]\nstages = [{ id = "s", command = "true" }]\n')
    process = root.serving()
    assert root.call("run", "q").code == 0
    wait_until(lambda: not os.listdir(root.layout.accepted), "it is over for everybody")
    following = root.popen("events", "-f")
    held = root.call("submit", "--", "sh", "-c", "until test -e go; do sleep 0.02; done")
    assert following.stdout is not None
    first = following.stdout.readline()
    assert held.out.strip() in first, "the run before it was over"
    ids = {held.out.strip(), *(root.call("submit", "q").out.strip() for _ in range(5))}
    root.write("go", "")
    assert root.call("wait", *ids).code == 0
    got = [first]
    while sum('"event": "verdict"' in line for line in got) < len(ids):
        got.append(following.stdout.readline())
    following.send_signal(signal.SIGINT)
    assert root.finish(following).code == 130
    assert {line.split('"run_id": "')[1][:33] for line in got} == ids
    root.stop(process)


def test_replaced_or_cut_journal_repeats_no_fact(tmp_path: Path) -> None:
    path = tmp_path / "journal.ndjson"
    path.touch()
    writer = JournalWriter(str(path), by="worker", clock=SystemClock())
    follower = JournalFollower(str(path))
    assert follower.read_new() == []
    for code in ("a", "b"):
        writer.append(Event.WARNING, {"code": code, "message": ""})
    assert [fact.data["code"] for fact in follower.read_new()] == ["a", "b"]
    assert follower.read_new() == []
    writer.close()
    whole = path.read_bytes()
    for content in (whole, whole.splitlines(keepends=True)[0]):  # another file; a part of it
        (tmp_path / "new").write_bytes(content)
        os.replace(tmp_path / "new", path)
        assert follower.read_new() == []
    path.write_bytes(whole)
    writer = JournalWriter(str(path), by="worker", clock=SystemClock())
    writer.append(Event.WARNING, {"code": "c", "message": ""})
    writer.append(Event.VERDICT, {"status": "succeeded"})
    writer.append(Event.WARNING, {"code": "after the end", "message": ""})
    writer.close()
    assert [fact.event for fact in follower.read_new()] == ["warning", "verdict"]
    assert follower.verdict is not None
    assert follower.read_new() == []


def test_run_recorded_during_a_scan_is_followed_once(
    root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    root.configure('[pipelines.q]\nstages = [{ id = "s", command = "true" }]\n')
    stream = RootFacts(root.layout)
    assert root.call("start", "--once", "q").code == 0
    (run_id,) = [manifest["run_id"] for manifest in root.manifests()]
    # Accepted after a scan of the active runs, recorded before the scan of the histories, and still
    # active at the next scan.
    looks = iter([{}, {run_id: "default"}, {run_id: "default"}, {}, {}])
    monkeypatch.setattr("supervisor.report.read.journal_follower.active_ids", lambda _: next(looks))
    told = [fact.event for _ in range(5) for _, _, fact in stream.read_new()]
    assert told.count("verdict") == told.count("run_accepted") == 1

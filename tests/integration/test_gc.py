"""``gc`` removes finished runs and nothing else; readers report removed runs."""

import json
import os
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from supervisor.report.verify.verify_root import verify
from supervisor.store.run_removal import delete_removed, removal_candidates, remove_runs
from tests.root import Root, wait_until
from workers.records.flock import take_flock
from workers.records.request import Request, RequestKind, publish
from workers.records.spec import load_spec, parse_spec

PIPELINES = """
[pipelines.good]
stages = [{ id = "s", command = "echo x" }]
[pipelines.parent]
stages = [{ id = "kid", pipeline = "good" }]
[pipelines.wait]
stages = [{ id = "s", command = "while ! test -e $SUPERVISED_ROOT/go; do sleep 0.05; done" }]
"""


@pytest.fixture
def filled(root: Root) -> Root:
    """A root with three finished runs of one stage and one, the newest, with a child."""
    root.configure(PIPELINES)
    for names in (("good", "good", "good"), ("parent",)):
        assert root.call("start", "--once", *names).code == 0
    return root


def cli(root: Root, task: str = "default") -> Path:
    return root.path / f".runs/{task}/cli"


def there(root: Root) -> set[str]:
    return set(os.listdir(cli(root)))


def test_without_yes_gc_only_lists_runs(filled: Root) -> None:
    before = there(filled)
    done = filled.call("gc", "--keep-runs", "2")
    assert done.code == 0
    assert "2 runs, " in done.out
    assert "--yes removes them" in done.out
    assert there(filled) == before


def test_with_yes_gc_removes_runs_and_all_other_records_stay_valid(filled: Root) -> None:
    history = filled.history()
    listed = filled.call("gc", "--keep-runs", "2", "--json").json()
    done = filled.call("gc", "--keep-runs", "2", "--yes", "--json").json()
    assert (listed["removed"], done["removed"]) == (False, True)
    assert listed["runs"] == done["runs"]
    gone = {run["run_id"] for run in done["runs"]}
    assert len(gone) == 2
    assert there(filled) == {line["runId"] for line in history} - gone
    assert filled.history() == history
    assert list(verify(filled.layout)) == []
    assert filled.call("start", "--once", "good").code == 0
    assert filled.state()["totals"]["runs"] == 6
    assert list(verify(filled.layout)) == []


def test_limits_come_from_settings_and_options_win(filled: Root) -> None:
    filled.configure(PIPELINES, settings="keep_runs = 1")
    assert len(filled.call("gc", "--json").json()["runs"]) == 3
    assert len(filled.call("gc", "--json", "--keep-runs", "3").json()["runs"]) == 1
    env = {"SUPERVISOR_KEEP_RUNS": "9", "SUPERVISOR_KEEP_DAYS": "0.5"}
    assert filled.call("gc", "--json", env=env).json()["runs"] == []
    assert filled.call("gc", "--keep-bytes", "64K", "--json").code == 0


def test_a_concurrent_gc_that_deletes_moved_runs_does_no_harm(
    filled: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = os.rename
    swept = []

    def late(*args: Any, **fds: Any) -> None:
        if len(swept) < 3:  # it comes between the making of the place and its use
            swept.append(delete_removed(filled.layout))
        rename(*args, **fds)

    monkeypatch.setattr(os, "rename", late)
    ids = [run.run_id for run in removal_candidates(filled.layout, "default")][:2]
    assert remove_runs(filled.layout, "default", ids) == {}
    assert len(swept) == 3
    assert not there(filled) & {*ids, ".removed"}
    assert list(verify(filled.layout)) == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "--keep-runs"),
        (("--keep-bytes", "many"), "500M"),
        (("--keep-runs", "-1"), "x>=0"),
        (("--keep-runs", "1", "--task", "defalt"), "did you mean 'default'"),
    ],
)
def test_wrong_options_are_usage_errors(filled: Root, words: tuple[str, ...], told: str) -> None:
    done = filled.call("gc", "--yes", *words)
    assert done.code == 2
    assert told in done.err
    assert len(there(filled)) == 5


def test_a_parent_and_its_child_are_removed_together(filled: Root) -> None:
    assert filled.call("gc", "--keep-runs", "0", "--yes").code == 0
    assert there(filled) == set()
    assert list(verify(filled.layout)) == []


def test_only_the_given_tasks_are_changed(filled: Root) -> None:
    filled.call("start", "--once", "good", "--task", "other")
    assert filled.call("gc", "--task", "other", "--keep-runs", "0", "--yes").code == 0
    assert len(there(filled)) == 5
    assert os.listdir(cli(filled, "other")) == []


def test_gc_next_to_a_supervisor_never_touches_active_runs(root: Root) -> None:
    root.configure(PIPELINES, settings="max_runs = 1")
    root.call("start", "--once", "good", "good")
    server = root.serving()
    ids = [root.call("submit", "wait").out.strip() for _ in range(2)]
    root.wait_for_status(ids[0], "in_progress")
    done = root.call("gc", "--keep-runs", "0", "--yes")
    assert done.code == 0
    assert set(ids) == there(root)
    assert "is not in history and state yet" in done.err
    root.write("go", "")
    assert root.call("wait", *ids).code == 0
    assert root.call("gc", "--keep-runs", "0", "--yes").code == 0
    wait_until(lambda: there(root) == set(), "they are gone, too")
    root.call("stop")
    root.finish(server)
    assert list(verify(root.layout)) == []


def test_runs_that_a_queued_run_refers_to_are_not_removed(filled: Root) -> None:
    old = filled.history()[0]["runId"]
    spec = load_spec(filled.layout.run_dir("default", old).spec)
    again = json.loads(json.dumps(spec.to_json()).replace(old, "2030-01-01T00-00-00-000Z-00000000"))
    again["retry_of"] = old
    publish(
        filled.layout,
        Request(kind=RequestKind.RUNS, runs=(parse_spec(again, ""),)),
    )
    assert filled.call("gc", "--keep-runs", "0", "--yes").code == 0
    assert there(filled) == {old}


def test_finished_runs_missing_in_the_history_are_not_removed(filled: Root) -> None:
    (first, *_) = filled.history()
    path = filled.path / "out/default/history.ndjson"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))
    done = filled.call("gc", "--keep-runs", "0", "--yes")
    assert there(filled) == {first["runId"]}
    assert "is not in the history" in done.err


def test_a_run_whose_lock_is_held_is_refused(filled: Root) -> None:
    run = filled.layout.run_dir("default", filled.history()[0]["runId"])
    holder = filled.shell(f"exec 9<{run.owner}; flock 9; echo held; exec sleep 60")
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    assert remove_runs(filled.layout, "default", [run.run_id]) == {
        run.run_id: "something of it is alive"
    }
    assert run.run_id in there(filled)


def test_links_are_never_followed(filled: Root, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    shutil.copytree(cli(filled), outside)
    victim = filled.history()[0]["runId"]
    run = cli(filled) / victim
    shutil.rmtree(run)
    run.symlink_to(outside / victim)
    inner = cli(filled) / filled.history()[1]["runId"]
    (inner / "commands" / "away").symlink_to(outside)
    (inner / "commands" / "file").symlink_to(outside / victim / "spec.json")
    before = sorted(outside.rglob("*"))
    assert filled.call("gc", "--keep-runs", "0", "--yes").code == 0
    assert there(filled) == {victim}, "the link is left to verify"
    assert sorted(outside.rglob("*")) == before


@pytest.mark.parametrize("name", [".runs/default/cli/.removed", ".runs/default/cli"])
def test_a_link_in_place_of_a_directory_refuses_the_task(
    filled: Root, tmp_path: Path, name: str
) -> None:
    outside = tmp_path / "outside"
    place = filled.path / name
    if place.exists():
        place.rename(outside)
    else:
        outside.mkdir()
        (outside / "file").write_text("")
    place.symlink_to(outside)
    before = sorted(outside.rglob("*"))
    done = filled.call("gc", "--keep-runs", "0", "--yes")
    if name.endswith(".removed"):
        assert there(filled) == set(), "the link itself was swept"
    else:
        assert done.code == 73
        assert "task default: cannot remove its runs" in done.err
    assert sorted(outside.rglob("*")) == before


def test_readers_report_a_removed_directory(filled: Root) -> None:
    gone = filled.history()[0]["runId"]
    filled.call("gc", "--keep-runs", "2", "--yes")
    for name in (gone, gone[-8:]):
        shown = filled.call("show", name)
        assert (shown.code, shown.err) == (0, "")
        assert "removed, by 'supervisor gc'" in shown.out
        assert "succeeded" in shown.out
    assert filled.call("show", gone, "--json").json()["history"]["runId"] == gone
    logs = filled.call("logs", gone)
    assert (logs.code, logs.out) == (4, "")
    assert "directory was removed, by 'supervisor gc'" in logs.err
    assert filled.call("show", "00000000").code == 4
    assert gone in filled.call("status").out


def test_the_next_start_finishes_an_interrupted_removal(filled: Root) -> None:
    aside = cli(filled) / ".removed"
    aside.mkdir(mode=0o700)
    gone = filled.history()[0]["runId"]
    (cli(filled) / gone).rename(aside / gone)
    shutil.rmtree(aside / gone / "commands")
    assert list(verify(filled.layout)) == [], "it is no record any more"
    assert filled.call("show", gone).code == 0
    assert filled.call("start", "--once").code == 0
    assert not aside.exists()


def test_gc_waits_for_a_concurrent_gc_of_the_same_run(filled: Root) -> None:
    run = removal_candidates(filled.layout, "default")[0].run_id
    owner_fd = take_flock(filled.layout.run_dir("default", run).owner)
    assert owner_fd is not None
    timer = threading.Timer(0.05, os.close, [owner_fd])
    timer.start()
    try:
        assert remove_runs(filled.layout, "default", [run]) == {}
    finally:
        timer.join()
    assert run not in there(filled)


def test_concurrent_gcs_remove_each_run_once(filled: Root) -> None:
    started = [filled.popen("gc", "--keep-runs", "0", "--yes") for _ in range(4)]
    for process in started:
        done = filled.finish(process)
        assert done.code == 0, done.err
    assert there(filled) == set()
    assert list(verify(filled.layout)) == []


def test_the_size_is_the_disk_space_that_is_freed(filled: Root) -> None:
    for run in removal_candidates(filled.layout, "default"):
        assert 4096 < run.size_bytes < 1 << 20

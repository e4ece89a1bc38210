"""A long-running supervisor: groups, priorities, dependencies, pauses, drains."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.root import Root, alive, wait_until
from workers.records.request import Request, RequestKind, publish

GROUPS = "groups = { gpu = 2, disk = 1 }\n"
PIPELINES = """
[pipelines.train]
group = "gpu"
stages = [{ id = "s", command = "sleep 0.3" }]
[pipelines.copy]
group = "disk"
stages = [{ id = "s", command = "sleep 0.3" }]
[pipelines.bad]
stages = [{ id = "s", command = "exit 3" }]
"""
HOLD = "while ! test -e {0}; do sleep 0.05; done"


def submit(root: Root, *words: str) -> str:
    done = root.call("submit", *words)
    assert done.code == 0, done.err
    return done.out.strip()


def spans(root: Root) -> dict[str, tuple[float, float]]:
    """When each run's stage began and ended, from the journals."""
    found = {}
    for manifest in root.manifests():
        facts = {f["event"]: f["mono_s"] for f in root.events(manifest["run_id"])}
        found[manifest["run_id"]] = (facts["stage_started"], facts["stage_ended"])
    return found


def launched(root: Root) -> list[str]:
    """The runs in the order in which their workers were started, by the kernel's word.

    When a stage began tells less: of two workers the later may get there before.
    """
    workers = {m["run_id"]: m["extensions"]["worker"] for m in root.manifests()}
    return sorted(workers, key=lambda r: (workers[r]["start_ticks"], workers[r]["pid"]))


def most_at_once(found: list[tuple[float, float]]) -> int:
    return max(sum(a <= begin < b for a, b in found) for begin, _ in found)


def view(root: Root) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(Path(root.layout.status).read_text())
    return value


def test_priorities_order_runs_and_group_limits_hold(root: Root) -> None:
    root.configure(PIPELINES, settings="max_runs = 3\n" + GROUPS)
    gpu = [submit(root, "train", "--priority", str(n)) for n in (0, 5, -5, 5, 0, 1)]
    disk = [submit(root, "copy", "--priority", str(n)) for n in (0, 0, 9)]
    assert root.call("start", "--once").code == 0
    when = spans(root)
    wanted = [gpu[n] for n in (1, 3, 5, 0, 4, 2)]
    assert [run_id for run_id in launched(root) if run_id in gpu] == wanted
    assert [run_id for run_id in launched(root) if run_id in disk] == [disk[2], disk[0], disk[1]]
    assert most_at_once([when[r] for r in gpu]) == 2
    assert most_at_once([when[r] for r in disk]) == 1
    assert most_at_once(list(when.values())) <= 3
    (manifest,) = [m for m in root.manifests() if m["run_id"] == gpu[1]]
    assert (manifest["extensions"]["priority"], manifest["extensions"]["group"]) == (5, "gpu")
    root.check_settled(count=9)


def test_a_changed_group_limit_takes_effect(root: Root) -> None:
    root.configure(PIPELINES, settings="groups = { gpu = 1, disk = 1 }\n")
    process = root.serving()
    hold = ("--group", "gpu", "--", "sh", "-c", HOLD.format("go"))
    ids = [submit(root, *hold) for _ in range(3)]
    wait_until(lambda: len(root.stages()) >= 1, "the first runs")
    wait_until(
        lambda: view(root)["groups"]["gpu"] == {"limit": 1, "running": 1, "queued": 2},
        "the view tells of the group",
    )
    assert "group gpu: 1 of 1 running, 2 queued" in root.call("status").out
    root.configure(PIPELINES, settings="groups = { gpu = 3, disk = 1 }\n")
    process.send_signal(signal.SIGHUP)
    for run_id in ids:
        wait_until(lambda r=run_id: alive(f"SUPERVISED_RUN_ID={r}"), "it runs")
    root.write("go", "")
    assert root.call("wait", *ids).code == 0
    assert root.call("drain").code == 0
    assert root.finish(process).code == 0


def test_unknown_groups_are_refused_everywhere(root: Root) -> None:
    root.configure(PIPELINES, settings=GROUPS)
    done = root.call("submit", "--group", "gpus", "--", "true")
    assert (done.code, "did you mean 'gpu'?" in done.err) == (2, True)
    assert root.call("pause", "--group", "gpus").code == 2
    assert root.call("submit", "--priority", "1001", "--", "true").code == 2
    root.write("b.toml", '[[runs]]\npipeline = "bad"\ngroup = "dsk"\n')
    done = root.call("start", "--once", "--batch", "b.toml")
    assert (done.code, "runs[0].group" in done.err, "'disk'" in done.err) == (78, True, True)
    root.configure(PIPELINES)
    done = root.call("validate")
    assert (done.code, "pipelines.train.group" in done.err) == (78, True)
    assert not os.path.lexists(root.layout.runs)


def test_a_batch_sets_priorities_and_groups_of_its_runs(root: Root) -> None:
    root.configure(PIPELINES, settings=GROUPS)
    root.write("b.toml", '[[runs]]\npipeline = "bad"\npriority = 4\ngroup = "disk"\n')
    assert root.call("start", "--once", "--batch", "b.toml").code == 10
    (manifest,) = root.manifests()
    assert (manifest["extensions"]["priority"], manifest["extensions"]["group"]) == (4, "disk")


def test_a_run_starts_after_its_dependency(root: Root) -> None:
    first = submit(root, "--", "sh", "-c", "sleep 0.3; touch made")
    second = submit(root, "--after", first, "--", "test", "-e", "made")
    third = submit(root, "--after", second[-8:], "--after", first, "--", "true")
    assert root.call("start", "--once").code == 0
    when = spans(root)
    assert when[first][1] <= when[second][0] < when[second][1] <= when[third][0]
    again = root.serving()
    late = submit(root, "--after", first, "--", "true")
    assert root.call("wait", late).code == 0, "it had succeeded long before"
    again.send_signal(signal.SIGTERM)
    root.finish(again)
    root.check_settled(count=4)


def test_dependents_of_a_run_that_did_not_succeed_are_cancelled_with_the_reason(root: Root) -> None:
    root.configure(PIPELINES, settings=GROUPS)
    bad = submit(root, "bad")
    second = submit(root, "--after", bad, "--", "touch", "never")
    third = submit(root, "--after", second, "--", "touch", "never")
    assert root.call("start", "--once").code == 10
    late = root.call("run", "--after", bad, "--", "touch", "never")
    assert (late.code, f"after:{bad}:failed" in late.err) == (11, True)
    details = {m["run_id"]: m["status_detail"] for m in root.manifests()}
    assert details[second] == f"after:{bad}:failed"
    assert details[third] == f"after:{second}:cancelled"
    assert not (root.path / "never").exists()
    assert root.call("submit", "--after", "nosuch", "--", "true").code == 4
    wait_until(lambda: not alive(f"--root\0{root.path}"), "the helper leaves")
    root.check_settled(count=4)


def test_dependencies_survive_a_killed_supervisor(root: Root) -> None:
    process = root.serving()
    first = submit(root, "--", "sh", "-c", HOLD.format("go"))
    second = submit(root, "--after", first, "--", "true")
    wait_until(lambda: root.stages(), "the first runs")
    root.wait_for_status(second, "queued")
    process.kill()
    root.finish(process)
    root.write("go", "")
    assert root.call("start", "--once").code == 0
    root.check_settled(count=2)


def test_the_outcome_of_a_removed_dependency_is_read_from_the_history(root: Root) -> None:
    root.configure(PIPELINES, settings=GROUPS)
    good, bad = submit(root, "--", "true"), submit(root, "bad")
    root.call("start", "--once")
    after = [submit(root, "--after", good, "--", "true")]
    for run_id in (good, bad):
        path = root.layout.run_dir("default", run_id).path
        os.rename(path, root.path / run_id)
    after.append(submit(root, "--after", bad, "--", "true"))
    assert root.call("start", "--once").code == 11
    details = {m["run_id"]: m["status_detail"] for m in root.manifests()}
    assert details == {after[0]: None, after[1]: f"after:{bad}:failed"}


def test_a_run_waits_for_its_dependency_under_a_temporary_supervisor(root: Root) -> None:
    first = submit(root, "--", "true")
    other = submit(root, "--", "true")
    assert root.call("run", "--after", first, "--", "true").code == 0
    wait_until(lambda: not alive(f"--root\0{root.path}"), "the helper leaves")
    statuses = {m["run_id"]: m["status"] for m in root.manifests()}
    assert (statuses[first], statuses[other]) == ("succeeded", "queued")
    last = submit(root, "--after", other, "--", "true")
    (row,) = [r for r in root.call("status", "--json").json()["runs"] if r["run_id"] == last]
    assert row["note"] == f"after {other[-8:]}"


def test_a_pause_survives_restarts_and_status_shows_it(root: Root) -> None:
    process = root.serving()
    assert root.call("pause").code == 0
    run_id = submit(root, "--", "true")
    root.wait_for_status(run_id, "queued")
    assert "paused since" in root.call("status").out
    process.kill()
    root.finish(process)
    again = root.popen("start", "--once")
    wait_until(lambda: view(root)["supervisor"]["pid"] == again.pid, "it serves")
    waiting = root.popen("run", "--", "true")
    assert view(root)["paused"]["since"] is not None
    report = root.call("status", "--json").json()
    assert report["paused"]["since"] is not None
    assert {row["status"] for row in report["runs"]} == {"queued"}
    assert waiting.stderr is not None
    assert "all runs are paused; 'supervisor resume' lifts it" in waiting.stderr.readline()
    assert root.call("resume").code == 0
    done = root.finish(again)
    assert (done.code, "1 run is paused" in done.err) == (0, True)
    assert root.finish(waiting).code == 0
    assert "paused since" not in root.call("status").out
    root.check_settled(count=2)


def test_a_pause_without_a_supervisor_applies_to_the_next_start(
    root: Root,
) -> None:
    run_id = submit(root, "--", "true")
    assert root.call("pause").code == 0
    assert "paused since" in root.call("status").out
    process = root.serving()
    root.wait_for_status(run_id, "queued")
    assert root.call("resume").code == 0
    assert root.call("wait", run_id).code == 0
    root.stop(process)
    facts = [line["event"] for line in root.log()]
    assert facts.index("paused") < facts.index("resumed") < facts.index("run_finished")


def test_resume_without_a_pause_sends_no_request(root: Root) -> None:
    root.configure(PIPELINES, settings=GROUPS)
    assert root.call("resume").err == "supervisor: nothing is paused\n"
    assert root.call("pause", "--group", "gpu").code == 0
    assert root.call("resume", "--group", "gpu").err == "supervisor: group gpu is resumed\n"
    handed_in = len(os.listdir(root.layout.inbox))
    assert root.call("resume", "--group", "gpu").err == "supervisor: group gpu is not paused\n"
    assert len(os.listdir(root.layout.inbox)) == handed_in


def test_status_shows_a_draining_or_stopped_supervisor(root: Root) -> None:
    root.configure(PIPELINES, settings=GROUPS)
    process = root.popen("start")
    submit(root, "--", "sh", "-c", HOLD.format(root.path / "go"))
    wait_until(root.stages, "it runs")
    process.send_signal(signal.SIGSTOP)
    wait_until(lambda: f"pid {process.pid}, stopped;" in root.call("status").out, "it is told")
    process.send_signal(signal.SIGCONT)
    process.send_signal(signal.SIGTERM)
    wait_until(lambda: f"pid {process.pid}, draining" in root.call("status").out, "it drains")
    assert root.call("status", "--json").json()["mode"] == "draining"
    root.call("cancel", "latest")
    root.finish(process)


def test_a_paused_group_starts_no_runs_and_drain_returns_when_none_is_running(root: Root) -> None:
    root.configure(PIPELINES, settings=GROUPS)
    process = root.serving()
    live = submit(root, "--group", "gpu", "--", "sh", "-c", HOLD.format("go"))
    wait_until(lambda: root.stages(), "it runs")
    drain = root.popen("drain", "--group", "gpu")
    wait_until(lambda: "gpu" in view(root)["paused"]["groups"], "the group is paused")
    held = submit(root, "train")
    assert root.call("run", "--", "true").code == 0
    assert drain.poll() is None
    root.write("go", "")
    assert root.finish(drain).code == 0
    assert not alive(f"SUPERVISED_RUN_ID={live}")
    assert root.call("wait", held, "--timeout", "0.2").code == 124
    assert "group gpu: 0 of 2 running, 1 queued; paused since" in root.call("status").out
    assert root.call("resume", "--group", "gpu").code == 0
    assert root.call("wait", held).code == 0
    root.stop(process)
    root.check_settled(count=3)


def test_drain_finishes_running_runs_and_leaves_queued_ones(root: Root) -> None:
    root.configure(settings="max_runs = 1\n")
    process = root.serving()
    first = submit(root, "--", "sh", "-c", HOLD.format("go"))
    second = submit(root, "--", "true")
    wait_until(lambda: root.stages(), "it runs")
    drain = root.popen("drain")
    wait_until(lambda: view(root)["mode"] == "draining", "it drains")
    assert drain.poll() is None
    root.write("go", "")
    assert root.finish(drain).code == 0
    assert root.finish(process).code == 0
    statuses = {m["run_id"]: m["status"] for m in root.manifests()}
    assert statuses == {first: "succeeded", second: "queued"}
    assert "no supervisor serves" in root.call("drain").err


def test_cancel_ends_paused_and_waiting_runs(root: Root) -> None:
    process = root.serving()
    root.call("pause")
    first = submit(root, "--", "true")
    second = submit(root, "--after", first, "--", "true")
    third = submit(root, "--after", second, "--", "true")
    assert root.call("cancel", second).code == 0
    assert root.call("wait", third).code == 11
    root.call("resume")
    assert root.call("wait", first).code == 0
    root.call("stop")
    root.finish(process)
    details = {m["run_id"]: m["status_detail"] for m in root.manifests()}
    assert details[second] == "cancelled-by-user"
    assert details[third] == f"after:{second}:cancelled"


def test_cancel_ends_an_orphan_with_all_its_processes(root: Root) -> None:
    process = root.serving()
    run_id = submit(root, "--", "sleep", "40")
    wait_until(lambda: root.stages(), "it runs")
    process.kill()
    root.finish(process)
    assert root.call("cancel", run_id).code == 0
    assert not alive(f"SUPERVISED_RUN_ID={run_id}")
    wait_until(lambda: not alive(f"--root\0{root.path}"), "the helper leaves")
    root.check_settled(count=1)


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"schema": "pipeline-supervisor/paused/1", "since": 1}']
)
def test_a_damaged_pause_file_pauses_all_runs(root: Root, content: str) -> None:
    run_id = submit(root, "--", "true")
    Path(root.layout.paused).write_text(content)
    assert root.call("status").code == 0
    process = root.serving()
    root.wait_for_status(run_id, "queued")
    assert view(root)["paused"]["since"] is not None
    assert root.call("resume").code == 0
    assert root.call("wait", run_id).code == 0
    root.call("stop")
    assert "everything is paused; 'supervisor resume' lifts it" in root.finish(process).err


DAMAGED = '{"schema": "pipeline-supervisor/paused/1", "groups": ["gpu"]}'


@pytest.mark.fault("R5")
def test_resume_lifts_the_pause_of_a_damaged_file_without_a_supervisor(root: Root) -> None:
    run_id = submit(root, "--", "true")
    Path(root.layout.paused).write_text(DAMAGED)
    shown = root.call("status")
    assert "paused since" in shown.out
    assert f"{root.layout.paused}: not a valid record: groups must be" in shown.err
    assert root.call("resume").err == "supervisor: everything is resumed\n"
    done = root.call("start", "--once")
    assert done.code == 0, done.err
    root.wait_for_status(run_id, "succeeded")
    assert json.loads(Path(root.layout.paused).read_text())["since"] is None


@pytest.mark.fault("R5")
def test_start_once_reports_a_damaged_pause_file_and_resume_starts_its_runs(root: Root) -> None:
    submit(root, "--", "true")
    Path(root.layout.paused).write_text(DAMAGED)
    once = root.popen("start", "--once")
    assert once.stderr is not None
    told = ""
    while "1 run is paused" not in told:
        told += once.stderr.readline()
    assert "everything is paused; 'supervisor resume' lifts it" in told
    assert root.call("resume").code == 0
    assert root.finish(once).code == 0


@pytest.mark.fault("R5")
def test_resume_rewrites_a_pause_file_damaged_under_a_supervisor(root: Root) -> None:
    process = root.serving()
    Path(root.layout.paused).mkdir()
    done = root.call("resume")
    assert done.err == "supervisor: everything is resumed\n"
    assert json.loads(Path(root.layout.paused).read_text())["since"] is None
    assert "paused since" not in root.call("status").out
    root.stop(process)


def test_rejected_requests_are_reported_by_status_doctor_and_verify(root: Root) -> None:
    inbox = Path(root.layout.inbox)
    inbox.mkdir(parents=True)
    (inbox / "0000.json").write_text("{")
    assert root.call("start", "--once").code == 0
    where = ".runs/.supervisor/rejected/0000.json"
    assert where in root.call("status").out
    assert root.call("status", "--json").json()["rejected"] == [where]
    assert where in root.call("doctor").out
    done = root.call("verify")
    assert (done.code, where in done.err) == (0, True)


def make_many(root: Root, count: int) -> None:
    """Submit requests without starting a process for each."""
    from supervisor.config.load import load_config
    from supervisor.config.run_specs import RunOptions, SpecBuilder

    given = load_config(str(root.path), None)
    asking = SpecBuilder(settings=given.settings, asked_by="submit")
    for _ in range(count):
        spec = asking.command(("sh", "-c", "echo $SUPERVISED_RUN_ID >> marks"), RunOptions())
        publish(root.layout, Request(kind=RequestKind.RUNS, runs=(spec,)))


def check_many(root: Root, count: int) -> None:
    ran = (root.path / "marks").read_text().split()
    assert len(ran) == len(set(ran)) == count, "a run ran twice, or not at all"
    root.check_settled(count=count)


def test_runs_submitted_without_a_supervisor_run_once(root: Root) -> None:
    make_many(root, 60)
    assert root.call("start", "--once").code == 0
    check_many(root, 60)


def test_a_supervisor_killed_amid_many_requests_runs_each_once(root: Root) -> None:
    make_many(root, 60)
    process = root.popen("start", "--once")
    marks = root.path / "marks"
    wait_until(lambda: marks.exists() and marks.read_text().count("\n") > 5, "some have run")
    process.kill()
    root.finish(process)
    assert root.call("start", "--once").code == 0
    check_many(root, 60)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_thousand_requests_without_a_supervisor_get_one_verdict_each(
    root: Root,
) -> None:
    make_many(root, 1000)
    process = root.popen("start", "--once")
    process.communicate(timeout=600)
    assert process.returncode == 0
    check_many(root, 1000)

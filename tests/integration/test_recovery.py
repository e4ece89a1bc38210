import json
import os
import shutil
import signal
import time

import pytest

from tests.holding import HOLD, holding, kill_supervisor, ran, workers
from tests.root import Root, alive, wait_until


@pytest.mark.fault("P3")
def test_a_killed_supervisor_loses_no_run_and_no_stage_runs_twice(root: Root) -> None:
    holding(root, 12)
    first = root.popen("start", "--once", "--batch", "batch.toml")
    wait_until(lambda: len(ran(root)) == 12, "all stages run")
    first.kill()
    root.finish(first)
    workers = sorted(alive(f"workers\0{root.path}"))
    assert len(workers) == 12
    second = root.popen("start", "--once", "--batch", "batch.toml")
    wait_until(
        lambda: [line["event"] for line in root.log()].count("run_adopted") == 12, "adoption"
    )
    assert sorted(alive(f"workers\0{root.path}")) == workers
    root.write("go", "")
    assert root.finish(second).code == 0
    assert len(ran(root)) == len(set(ran(root))) == 12
    root.check_settled(count=12)


@pytest.mark.fault("P30")
def test_runs_that_end_while_no_supervisor_is_up_are_recorded_once(root: Root) -> None:
    holding(root, 5)
    first = root.popen("start", "--once", "--batch", "batch.toml")
    wait_until(lambda: len(ran(root)) == 5, "all stages run")
    first.kill()
    root.finish(first)
    root.write("go", "")
    wait_until(lambda: not alive(f"workers\0{root.path}"), "the workers end by themselves")
    for _ in range(2):
        assert root.call("start", "--once").code == 0
    root.check_settled(count=5)


MIXED = """
[pipelines.bad]
stages = [{ id = "s", command = "exit 1" }]
"""


def killed_amid_a_batch(root: Root) -> None:
    """Leave a batch of which one run has failed and one is under way, without a supervisor."""
    root.configure(MIXED + HOLD)
    root.write("batch.toml", '[[runs]]\npipeline = "bad"\n[[runs]]\npipeline = "hold"\n')
    first = root.popen("start", "--once", "--batch", "batch.toml")
    wait_until(lambda: len(ran(root)) == 1, "one run is under way")
    wait_until(lambda: len(os.listdir(root.layout.accepted)) == 1, "the other one is settled")
    first.kill()
    root.finish(first)


@pytest.mark.fault("P39")
@pytest.mark.parametrize("ended", ["before the next start", "under the next start"])
def test_a_continued_batch_exits_with_the_worst_outcome_of_all_its_runs(
    root: Root, ended: str
) -> None:
    killed_amid_a_batch(root)
    second = None
    if ended == "under the next start":
        second = root.popen("start", "--once", "--batch", "batch.toml", "--json")
        wait_until(lambda: "run_adopted" in [line["event"] for line in root.log()], "adoption")
    root.write("go", "")
    wait_until(lambda: not alive(f"workers\0{root.path}"), "the worker ends by itself")
    second = second or root.popen("start", "--once", "--batch", "batch.toml", "--json")
    done = root.finish(second)
    assert done.code == 10, "the run that failed under the first supervisor counts"
    summary = done.json_lines()[-1]
    assert (summary["succeeded"], summary["failed"]) == (1, 1)
    assert root.call("start", "--once", "--batch", "batch.toml").code == 10, "another round"
    root.check_settled(count=4)


@pytest.mark.fault("P39")
def test_an_earlier_round_of_a_batch_does_not_count(root: Root) -> None:
    killed_amid_a_batch(root)
    root.write("go", "")
    assert root.call("start", "--once", "--batch", "batch.toml").code == 10
    for name in ("go", "ran"):
        (root.path / name).unlink()
    kill_supervisor(root, 3)
    root.write("go", "")
    assert root.call("start", "--once", "--batch", "batch.toml").code == 0
    root.check_settled(count=5)


@pytest.mark.fault("P39")
def test_all_verbs_read_the_verdict_of_a_worker_that_ended_without_a_supervisor(
    root: Root,
) -> None:
    kill_supervisor(root, 1)
    (run_id,) = ran(root)
    follower = root.popen("logs", "-f", run_id)
    waiter = root.popen("wait", run_id)
    root.write("go", "")
    assert root.finish(follower).code == 0
    assert root.finish(waiter).code == 0
    for verb in (("status",), ("status", run_id), ("show", run_id)):
        assert "succeeded" in root.call(*verb).out
    assert root.call("show", run_id, "--json").json()["manifest"]["status"] == "succeeded"
    (row,) = root.call("status", "--json").json()["runs"]
    assert (row["status"], row["running"]) == ("succeeded", [])
    refused = root.call("retry", run_id)
    assert "succeeded" in refused.err
    assert root.call("wait", run_id, "--json", "--timeout", "0").json()["status"] == "succeeded"
    assert root.call("start", "--once").code == 0
    root.check_settled(count=1)


@pytest.mark.fault("P39")
@pytest.mark.parametrize("verb", [("logs", "-f"), ("events", "-f"), ("wait",)])
def test_verbs_that_follow_a_lost_run_say_that_no_supervisor_is_up(
    root: Root, verb: tuple[str, ...]
) -> None:
    kill_supervisor(root, 1)
    (run_id,) = ran(root)
    for pid in workers(root):
        os.kill(pid, signal.SIGKILL)
    following = root.popen(*verb, run_id)
    assert following.stderr is not None
    assert "no supervisor serves" in following.stderr.readline()
    assert root.call("start", "--once").code == 12
    assert root.finish(following).code == (12 if verb == ("wait",) else 0)


@pytest.mark.fault("P5")
def test_a_killed_worker_is_lost_its_processes_go_and_the_others_are_untouched(
    root: Root,
) -> None:
    holding(root, 4)
    process = root.popen("start", "--once", "--batch", "batch.toml")
    wait_until(lambda: len(ran(root)) == 4, "all stages run")
    victim = root.manifests()[0]["run_id"]
    (worker,) = alive(f"cli/{victim}\0--owner-fd")
    os.kill(worker, signal.SIGKILL)
    root.wait_for_status(victim, "failed")
    assert not alive(f"SUPERVISED_RUN_ID={victim}")
    root.write("go", "")
    assert root.finish(process).code == 12
    lost = next(m for m in root.manifests() if m["run_id"] == victim)
    assert lost["status_detail"] == "worker-lost"
    assert "SIGKILL" in lost["extensions"]["reason"]
    assert sum(m["status"] == "succeeded" for m in root.manifests()) == 3
    root.check_settled(count=4)


@pytest.mark.fault("P3", "P5")
def test_a_worker_that_died_with_its_supervisor_is_lost_at_the_next_start(root: Root) -> None:
    holding(root, 2)
    process = root.popen("start", "--once", "--batch", "batch.toml")
    wait_until(lambda: len(ran(root)) == 2, "all stages run")
    process.kill()
    root.finish(process)
    for pid in alive(f"workers\0{root.path}"):
        os.kill(pid, signal.SIGKILL)
    assert root.call("start", "--once").code == 12
    assert not alive(f"SUPERVISED_ROOT={root.path}")
    assert {m["status_detail"] for m in root.manifests()} == {"worker-lost"}
    root.check_settled(count=2)


@pytest.mark.fault("P6")
def test_a_stopped_worker_is_unresponsive_and_then_succeeds(root: Root) -> None:
    holding(root, 1)
    process = root.popen("start", "--once", "--batch", "batch.toml")
    wait_until(lambda: len(ran(root)) == 1, "the stage runs")
    (worker,) = alive(f"workers\0{root.path}")
    os.kill(worker, signal.SIGSTOP)

    def note() -> object:
        return root.call("status", "--json").json()["runs"][0]["note"]

    wait_until(lambda: note() == "unresponsive", "it is shown as unresponsive")
    os.kill(worker, signal.SIGCONT)
    root.write("go", "")
    assert root.finish(process).code == 0
    root.check_settled(count=1)


@pytest.mark.fault("P7")
def test_a_stopped_supervisor_harms_nobody_when_it_goes_on(root: Root) -> None:
    holding(root, 3)
    root.configure(HOLD, settings="")
    process = root.popen("start", "--once", "--batch", "batch.toml")
    wait_until(lambda: len(ran(root)) == 3, "all stages run")
    process.send_signal(signal.SIGSTOP)
    beat = root.path / f".runs/default/cli/{root.manifests()[0]['run_id']}/.heartbeat"
    before = beat.stat().st_mtime_ns
    wait_until(lambda: beat.stat().st_mtime_ns > before + 2_000_000_000, "beats go on for 2 s")
    process.send_signal(signal.SIGCONT)
    root.write("go", "")
    assert root.finish(process).code == 0
    root.check_settled(count=3)


@pytest.mark.fault("F11")
def test_a_run_whose_directory_is_deleted_gets_its_verdict_all_the_same(root: Root) -> None:
    holding(root, 2)
    process = root.popen("start", "--once", "--batch", "batch.toml")
    wait_until(lambda: len(ran(root)) == 2, "all stages run")
    victim = root.manifests()[0]["run_id"]
    gone = root.path / "gone"  # at once: what a slow deleter does is tried below
    (root.path / f".runs/default/cli/{victim}").rename(gone)
    shutil.rmtree(gone)
    root.wait_for_status(victim, "failed")
    root.write("go", "")
    assert root.finish(process).code == 12
    details = {m["run_id"]: m["status_detail"] for m in root.manifests()}
    assert details[victim] == "run-dir-deleted"
    root.check_settled(count=2)


@pytest.mark.fault("F11")
def test_a_run_whose_directory_is_deleted_slowly_has_a_whole_one_at_its_end(root: Root) -> None:
    holding(root, 1)
    process = root.popen("start", "--once", "--batch", "batch.toml")
    wait_until(lambda: len(ran(root)) == 1, "the stage runs")
    wait_until(
        lambda: root.manifests()[0]["extensions"]["worker"] is not None,
        "the supervisor has seen it begin",
    )
    victim = root.manifests()[0]["run_id"]
    run = root.path / f".runs/default/cli/{victim}"
    more = [run / f"commands/more-{n}" for n in range(50)]
    for path in more:
        path.write_text("")
        path.chmod(0o600)
    (run / "journal.ndjson").unlink()
    wait_until(lambda: not workers(root), "its worker is ended")
    for path in more:  # for 2.5 s: longer than a supervisor waits to try a verdict again
        path.unlink()
        time.sleep(0.05)
    shutil.rmtree(run)  # raises where somebody has made something in it meanwhile
    assert root.finish(process).code == 12
    (manifest,) = root.manifests()
    assert manifest["status_detail"] == "run-dir-deleted"
    assert manifest["extensions"]["worker"], "it had begun"
    root.check_settled(count=1)


@pytest.mark.parametrize("name", ["journal.ndjson", "spec.json"])
def test_what_is_left_of_a_directory_that_lost_a_record_stays(root: Root, name: str) -> None:
    holding(root, 1)
    process = root.popen("start", "--once", "--batch", "batch.toml")
    wait_until(lambda: len(ran(root)) == 1, "the stage runs")
    victim = root.manifests()[0]["run_id"]
    run = root.path / f".runs/default/cli/{victim}"
    (run / name).unlink()
    (run / "journal.ndjson").unlink(missing_ok=True)
    assert root.finish(process).code == 12
    assert (run / "commands/01-s.stdout.log").exists()
    root.check_settled(count=1)


@pytest.mark.parametrize("damage", ["truncate", "garbage", "delete"])
def test_a_damaged_spec_never_stops_a_start(root: Root, damage: str) -> None:
    holding(root, 2)
    process = root.popen("start", "--once", "--batch", "batch.toml")
    wait_until(lambda: len(ran(root)) == 2, "all stages run")
    process.kill()
    root.finish(process)
    for pid in alive(f"workers\0{root.path}"):
        os.kill(pid, signal.SIGKILL)
    spec = root.path / f".runs/default/cli/{root.manifests()[0]['run_id']}/spec.json"
    if damage == "delete":
        spec.unlink()
    else:
        spec.write_bytes(b"" if damage == "truncate" else b"\xff\x00nonsense")
        spec.chmod(0o600)
    assert root.call("start", "--once").code == 12
    root.check_settled(count=2, damaged=1)


@pytest.mark.fault("F18")
def test_temporary_files_of_a_task_without_unfinished_runs_are_swept(root: Root) -> None:
    root.configure('[pipelines.p]\nstages = [{ id = "s", command = "true" }]\n')
    assert root.call("start", "--once", "p").code == 0
    for name in (".runs/default/.metrics.json", "out/default/.history.ndjson"):
        root.write(f"{name}.999999999-1-1.tmp", "half")
    assert root.call("verify").code == 65
    assert root.call("start", "--once").code == 0
    root.check_settled(count=1)


@pytest.mark.fault("F18")
def test_what_a_dead_writer_left_half_written_is_swept(root: Root) -> None:
    holding(root, 1)
    process = root.popen("start", "--once", "--batch", "batch.toml")
    wait_until(lambda: len(ran(root)) == 1, "the stage runs")
    process.kill()
    root.finish(process)
    run = root.path / ".runs/default/cli" / root.manifests()[0]["run_id"]
    (root.path / "out/default").mkdir(mode=0o700, exist_ok=True)
    left = [
        directory / ".left.json.999999999-1.tmp"
        for directory in (
            run,
            run / "errors",
            root.path / ".runs/default",
            root.path / "out/default",
            root.path / ".runs/.supervisor",
            root.path / ".runs/.supervisor/inbox",
        )
    ]
    (run / "errors").mkdir(mode=0o700)  # a worker makes it with its first error
    for path in left:
        path.write_text("half")
    asked = root.call("submit", "--", "true").out.strip()
    half_built = root.path / f".runs/default/cli/.{asked}.building"
    (half_built / "commands").mkdir(parents=True)
    root.write("go", "")
    assert root.call("start", "--once").code == 0
    assert not [path for path in left if path.exists()]
    assert not half_built.exists()
    root.check_settled(count=2)


def test_starting_again_changes_nothing(root: Root) -> None:
    holding(root, 1)
    root.write("go", "")
    assert root.call("start", "--once", "--batch", "batch.toml").code == 0

    def records() -> dict[str, bytes]:
        paths = [*root.path.glob("out/**/*.*"), *root.path.glob(".runs/default/**/*.*")]
        return {str(p): p.read_bytes() for p in paths if p.is_file()}

    before = records()
    assert root.call("start", "--once").code == 0
    assert records() == before
    assert json.loads((root.path / "out/default/state.json").read_text())["totals"]["runs"] == 1

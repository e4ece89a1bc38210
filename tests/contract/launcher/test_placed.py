"""What engines may do to a run that they place, with the loopback engine, which does all of it."""

import json
import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.contract.launcher.kinds import KINDS, Bench
from tests.contract.launcher.runs import (
    PIPELINES,
    holding,
    ran,
    run_dir,
    set_fault,
    verdict_of,
    worker_of,
)
from tests.root import root_in, wait_until
from workers.records.claim import SUPERVISOR, read_claim


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A root whose runs the loopback engine places."""
    with KINDS["placed"](tmp_path) as made:
        made.configure(PIPELINES)
        yield made


def clear_fault(bench: Bench, what: str) -> None:
    Path(bench.environ["LOOPBACK"], what).unlink()


def placed_keys(bench: Bench) -> set[str]:
    return {entry["key"] for entry in bench.log() if entry["event"] == "run_placed"}


def placement(bench: Bench, run_id: str) -> dict[str, object]:
    found: dict[str, object] = json.loads((run_dir(bench, run_id) / "placement.json").read_text())
    return found


def test_placed_attempt_is_on_disk_and_claimed(bench: Bench) -> None:
    assert bench.call("start", "--once", "good").code == 0
    (run_id,) = ran(bench)
    found = placement(bench, run_id)
    assert (found["attempt"], found["launcher"], found["resources"]) == (1, "dask", {"slot": 1})
    claim = read_claim(str(run_dir(bench, run_id) / ".claim.1"))
    assert claim is not None
    assert claim.ended is not None
    assert claim.ended.exit_code == 0
    (started,) = [e for e in bench.events(run_id) if e["event"] == "run_started"]
    assert started["attempt"] == 1


def test_child_run_takes_no_slot(bench: Bench) -> None:
    assert bench.call("start", "--once", "sub").code == 0
    (child,) = ran(bench)
    assert placement(bench, child)["resources"] == {}


@pytest.mark.fault("P31")
def test_second_placement_does_nothing_and_reports_it(bench: Bench) -> None:
    set_fault(bench, "twice")
    bench.write("go", "")
    assert bench.call("start", "--once", "hold").code == 0
    assert len(ran(bench)) == 1
    assert Path(bench.environ["LOOPBACK"], "both").read_text() == "[0, 75]"
    assert "was begun before" in Path(bench.environ["LOOPBACK"], "jobs.log").read_text()
    bench.check_settled(count=1)


def test_run_in_the_engines_queue_is_not_judged_and_is_cancelled_at_once(
    bench: Bench,
) -> None:
    config = bench.path / "config/supervisor.toml"
    text = config.read_text().replace("stale_after_s = 1.0", "stale_after_s = 0.3")
    config.write_text(text.replace("hung_after_s = 30.0", "hung_after_s = 0.5"))
    set_fault(bench, "slots", "0")
    process = bench.serving()
    run_id = bench.call("submit", "hold").out.strip()
    wait_until((run_dir(bench, run_id) / "placement.json").exists, "it is placed")
    looks = bench.popen("wait", run_id, "--timeout", "2")
    assert bench.finish(looks).code == 124  # four times as long as a worker may be silent
    assert bench.call("cancel", run_id).code == 0
    assert bench.call("wait", run_id).code == 11
    verdict = verdict_of(bench, run_id)
    assert (verdict["detail"], verdict["by"]) == ("cancelled-by-user", "supervisor")
    set_fault(bench, "slots", "5")
    assert bench.call("run", "good").code == 0  # whatever waited has had its turn
    assert run_id not in ran(bench)
    bench.stop(process)
    bench.check_settled(count=2)


@pytest.mark.fault("P34")
def test_copy_of_a_root_places_and_cancels_under_other_names(bench: Bench, tmp_path: Path) -> None:
    set_fault(bench, "slots", "0")
    original = bench.serving()
    run_id = bench.call("submit", "hold").out.strip()
    (key,) = wait_until(lambda: placed_keys(bench), "it is placed")
    with root_in(tmp_path / "copied") as made:
        shutil.rmtree(made.path)
        shutil.copytree(bench.path, made.path, symlinks=True)
        copy = replace(bench, path=made.path, started=made.started)
        process = copy.popen("start")
        wait_until(lambda: len(placed_keys(copy)) == 2, "the copy places the run")
        (other,) = placed_keys(copy) - {key}
        assert other.startswith(f"{run_id}.")
        assert copy.call("cancel", run_id).code == 0
        copy.stop(process)
    set_fault(bench, "slots", "5")
    bench.write("go", "")
    assert bench.call("wait", run_id).code == 0
    bench.stop(original)
    bench.check_settled(count=1)


@pytest.mark.fault("P31")
def test_lost_job_is_withdrawn_and_placed_again(bench: Bench) -> None:
    set_fault(bench, "lose")
    assert bench.call("start", "--once", "good").code == 0
    (run_id,) = ran(bench)
    first = read_claim(str(run_dir(bench, run_id) / ".claim.1"))
    assert first is not None
    assert first.by == SUPERVISOR
    assert placement(bench, run_id)["attempt"] == 2
    (started,) = [e for e in bench.events(run_id) if e["event"] == "run_started"]
    assert started["attempt"] == 2
    bench.check_settled(count=1)


def test_refused_run_is_spawn_failed(bench: Bench) -> None:
    set_fault(bench, "refuse")
    assert bench.call("start", "--once", "good").code == 12
    (line,) = bench.history()
    assert line["statusDetail"] == "spawn-failed"
    verdict = verdict_of(bench, line["runId"])
    assert verdict["reason"] == "not today"
    assert ran(bench) == []
    bench.check_settled(count=1)


def test_transient_refusal_is_tried_again(bench: Bench) -> None:
    set_fault(bench, "refuse", "transient")
    process = bench.popen("start", "--once", "good")
    wait_until(
        lambda: bench.claims() and [p for p in bench.claims() if p.name == ".claim.1"],
        "the first try is refused",
    )
    clear_fault(bench, "refuse")
    assert bench.finish(process).code == 0
    assert len(ran(bench)) == 1
    bench.check_settled(count=1)


@pytest.mark.fault("P33")
def test_killed_agent_is_replaced_and_gets_outstanding_requests(bench: Bench) -> None:
    set_fault(bench, "slots", "1")
    process = bench.serving()
    (first,) = holding(bench, 1)
    waiting = bench.call("submit", "hold").out.strip()
    wait_until((run_dir(bench, waiting) / "placement.json").exists, "it is placed")
    bench.kill_agent(process.pid)
    set_fault(bench, "slots", "5")
    wait_until(lambda: len(ran(bench)) == 2, "the waiting run has begun")
    bench.write("go", "")
    assert bench.call("wait", first, waiting).code == 0
    assert len(set(ran(bench))) == 2
    assert placement(bench, waiting)["attempt"] == 1
    bench.stop(process)
    bench.check_settled(count=2)


def test_killed_worker_does_not_end_the_other_orphans_of_a_dead_agent(
    bench: Bench,
) -> None:
    process = bench.serving()
    lost, other = holding(bench, 2)
    bench.kill_agent(process.pid)  # its children are ours now
    os.kill(worker_of(bench, lost), signal.SIGKILL)
    assert bench.call("wait", lost).code == 12
    bench.write("go", "")
    assert bench.call("wait", other).code == 0
    bench.stop(process)
    bench.check_settled(count=2)


def test_worker_whose_keeper_is_killed_too_is_lost_and_cleaned_up(bench: Bench) -> None:
    set_fault(bench, "mute")
    process = bench.serving()
    (run_id,) = holding(bench, 1)
    claim = read_claim(str(run_dir(bench, run_id) / ".claim.1"))
    assert claim is not None
    assert claim.holder is not None
    os.kill(claim.holder.pid, signal.SIGKILL)
    os.kill(worker_of(bench, run_id), signal.SIGKILL)
    assert bench.call("wait", run_id).code == 12
    wait_until(lambda: not bench.stages(), "nothing of it is alive")
    bench.stop(process)
    bench.check_settled(count=1)


@pytest.mark.fault("P31")
def test_run_that_waited_while_its_supervisor_was_killed_begins_once(bench: Bench) -> None:
    set_fault(bench, "slots", "0")
    process = bench.serving()
    run_id = bench.call("submit", "good").out.strip()
    wait_until((run_dir(bench, run_id) / "placement.json").exists, "it is placed")
    process.kill()
    process.wait()
    set_fault(bench, "slots", "5")
    assert bench.call("start", "--once").code == 0
    assert ran(bench) == [run_id]
    assert placement(bench, run_id)["attempt"] == 1
    bench.check_settled(count=1)


def test_another_launcher_withdraws_queued_runs_and_observes_running_ones(bench: Bench) -> None:
    set_fault(bench, "slots", "1")
    process = bench.serving()
    (running,) = holding(bench, 1)
    waiting = bench.call("submit", "good").out.strip()
    wait_until((run_dir(bench, waiting) / "placement.json").exists, "it is placed")
    process.kill()
    process.wait()
    bench.configure(PIPELINES, launcher="exec")
    again = bench.popen("start", "--once")
    wait_until(lambda: waiting in ran(bench), "the waiting run has begun here")
    bench.write("go", "")
    assert bench.finish(again).code == 0
    assert sorted(ran(bench)) == sorted([running, waiting])
    claim = read_claim(str(run_dir(bench, waiting) / ".claim.1"))
    assert claim is not None
    assert claim.by == SUPERVISOR
    bench.check_settled(count=2)


def test_agent_that_dies_at_once_is_reported_once_and_restarted(bench: Bench) -> None:
    process = bench.popen("start", "--once", "good", env={"LOOPBACK": "/nowhere"})
    log = bench.path / ".runs/.supervisor/supervisor.log"
    wait_until(lambda: log.exists() and "engine_note" in log.read_text(), "it is reported")
    process.kill()
    _, err = process.communicate()
    assert "the dask agent ended with" in err
    assert "it is started again" in err

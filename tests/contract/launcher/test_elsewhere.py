"""Workers on another host: only their files show what they do, and they are never signalled."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.launcher.kinds import KINDS, Bench
from tests.contract.launcher.runs import (
    PIPELINES,
    cancel,
    holding,
    ran,
    run_dir,
    set_fault,
    verdict_of,
    worker_of,
)
from tests.root import alive, wait_until
from workers.records.claim import read_claim
from workers.records.layout import RunDir


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A root whose workers are on a host called far."""
    with KINDS["placed"](tmp_path) as made:
        made.configure(PIPELINES)
        set_fault(made, "elsewhere", "far")
        yield made


def impatient(bench: Bench) -> None:
    """Judge a silent worker after a second."""
    config = bench.path / "config/supervisor.toml"
    text = config.read_text().replace("stale_after_s = 1.0", "stale_after_s = 0.5")
    config.write_text(text.replace("hung_after_s = 30.0", "hung_after_s = 1.0"))


def keeper_of(bench: Bench, run_id: str) -> int:
    claim = read_claim(str(run_dir(bench, run_id) / ".claim.1"))
    assert claim is not None
    assert claim.holder is not None
    return claim.holder.pid


def of_run(run_id: str) -> list[int]:
    """The living processes of a run: its keeper, its worker and its stages."""
    return alive(run_id)


def send(pids: list[int], number: int) -> None:
    for pid in pids:
        os.kill(pid, number)


def test_runs_end_with_their_workers_verdicts(bench: Bench) -> None:
    done = bench.call("start", "--once", "good", "bad", "sub")
    assert done.code == 10, done.err
    assert len(ran(bench)) == 3
    for manifest in bench.manifests():
        assert manifest["extensions"]["worker"]["host"] == "far"
    bench.check_settled(count=4)


def test_keepers_claim_makes_its_killed_worker_lost_at_once(bench: Bench) -> None:
    set_fault(bench, "mute")
    process = bench.serving()
    (run_id,) = holding(bench, 1)
    os.kill(worker_of(bench, run_id), signal.SIGKILL)
    assert bench.call("wait", run_id, "--timeout", "10").code == 12
    verdict = verdict_of(bench, run_id)
    assert verdict["detail"] == "worker-lost"
    assert verdict["reason"] == "its worker was killed by SIGKILL on far (out of memory?)"
    assert not bench.stages()
    assert os.path.exists(RunDir(str(run_dir(bench, run_id))).revoked_claim(1))
    bench.stop(process)
    bench.check_settled(count=1)


@pytest.mark.fault("P32", "P16")
def test_silent_host_is_named_and_its_processes_are_left_alone(bench: Bench) -> None:
    impatient(bench)
    set_fault(bench, "mute")
    process = bench.serving()
    (run_id,) = holding(bench, 1)
    for pid in (keeper_of(bench, run_id), worker_of(bench, run_id)):
        os.kill(pid, signal.SIGKILL)
    assert bench.call("wait", run_id).code == 12
    verdict = verdict_of(bench, run_id)
    assert verdict["detail"] == "worker-lost"
    assert "no heartbeat from host far for" in str(verdict["reason"])
    assert bench.stages(), "a pid of another host names no process here"
    bench.write("go", "")
    bench.stop(process)
    bench.check_settled(count=1)


@pytest.mark.fault("P32")
def test_worker_that_was_cut_off_ends_its_stages_and_writes_nothing(bench: Bench) -> None:
    impatient(bench)
    process = bench.serving()
    (run_id,) = holding(bench, 1)
    asleep = [keeper_of(bench, run_id), worker_of(bench, run_id)]
    send(asleep, signal.SIGSTOP)
    assert bench.call("wait", run_id).code == 12
    journal = (run_dir(bench, run_id) / "journal.ndjson").read_bytes()
    assert set(asleep) <= set(of_run(run_id)), "nothing was killed"
    send(asleep, signal.SIGCONT)
    wait_until(lambda: not of_run(run_id), "it has ended its stages")
    assert (run_dir(bench, run_id) / "journal.ndjson").read_bytes() == journal
    bench.stop(process)
    bench.check_settled(count=1)


def test_restarted_supervisor_waits_for_the_heartbeat_of_a_silent_host(
    bench: Bench,
) -> None:
    process = bench.serving()
    (run_id,) = holding(bench, 1)
    asleep = [keeper_of(bench, run_id), worker_of(bench, run_id)]
    process.kill()
    process.wait()
    send(asleep, signal.SIGSTOP)
    process = bench.serving()
    wait_until(lambda: "run_adopted" in json.dumps(bench.log()), "it is adopted")
    send(asleep, signal.SIGCONT)
    bench.write("go", "")
    assert bench.call("wait", run_id).code == 0
    assert ran(bench) == [run_id]
    bench.stop(process)
    bench.check_settled(count=1)


def test_run_on_another_host_is_cancelled_by_its_file_alone(bench: Bench) -> None:
    process = bench.serving()
    (run_id,) = holding(bench, 1)
    cancel(bench, run_id)
    wait_until(lambda: not of_run(run_id), "nothing of it is left")
    bench.stop(process)
    bench.check_settled(count=1)


def test_temporary_files_of_a_living_worker_on_another_host_are_not_swept(
    bench: Bench,
) -> None:
    process = bench.serving()
    (run_id,) = holding(bench, 1)
    half = run_dir(bench, run_id) / ".spec.json.99999-1-0-00000000.tmp"
    half.write_text("half")
    half.chmod(0o600)
    process.kill()
    process.wait()
    process = bench.serving()
    wait_until(lambda: "run_adopted" in json.dumps(bench.log()), "it is adopted")
    assert half.exists()
    assert bench.call("verify").code == 0, "no process here can tell that its writer is dead"
    os.kill(worker_of(bench, run_id), signal.SIGKILL)
    assert bench.call("wait", run_id).code == 12
    assert not half.exists(), "no worker may write there any more"
    bench.stop(process)
    bench.check_settled(count=1)


def test_drained_group_waits_for_running_runs_elsewhere_and_withdraws_queued_ones(
    bench: Bench,
) -> None:
    bench.configure(PIPELINES, "groups = { far = 5 }\n")
    set_fault(bench, "slots", "1")
    process = bench.serving()
    words = ("submit", "--group", "far", "hold")
    first = bench.call(*words).out.strip()
    wait_until(lambda: ran(bench), "it is at work")
    second = bench.call(*words).out.strip()
    third = bench.call("submit", "good").out.strip()
    wait_until((run_dir(bench, third) / "placement.json").exists, "both wait in the engine")
    drain = bench.popen("drain", "--group", "far")
    wait_until((run_dir(bench, second) / ".claim.1").exists, "it is withdrawn")
    assert drain.poll() is None, "the other one is at work"
    set_fault(bench, "slots", "2")
    bench.write("go", "")
    assert bench.finish(drain).code == 0
    assert bench.call("wait", third).code == 0
    assert ran(bench) == [first, third]
    assert not (run_dir(bench, third) / ".claim.2").exists(), "of no group, it was not withdrawn"
    assert bench.call("resume", "--group", "far").code == 0
    assert bench.call("wait", first, second).code == 0
    assert ran(bench) == [first, third, second]
    bench.stop(process)
    bench.check_settled(count=3)


def test_stopped_supervisor_leaves_runs_of_the_engines_queue_queued(bench: Bench) -> None:
    set_fault(bench, "slots", "1")
    process = bench.serving()
    (first,) = holding(bench, 1)
    second = bench.call("submit", "good").out.strip()
    wait_until((run_dir(bench, second) / "placement.json").exists, "it waits in the engine")
    bench.stop(process)
    assert {line["runId"]: line["status"] for line in bench.history()} == {first: "cancelled"}
    assert bench.call("start", "--once").code == 0
    assert ran(bench) == [first, second]
    bench.check_settled(count=2)


def test_drained_supervisor_leaves_runs_of_the_engines_queue_queued(bench: Bench) -> None:
    set_fault(bench, "slots", "1")
    process = bench.serving()
    (first,) = holding(bench, 1)
    second = bench.call("submit", "good").out.strip()
    wait_until((run_dir(bench, second) / "placement.json").exists, "it waits in the engine")
    drain = bench.popen("drain")
    wait_until((run_dir(bench, second) / ".claim.1").exists, "it is withdrawn")
    bench.write("go", "")
    assert bench.finish(drain).code == 0
    bench.finish(process)
    assert ran(bench) == [first]
    assert bench.call("start", "--once").code == 0
    assert ran(bench) == [first, second]
    bench.check_settled(count=2)

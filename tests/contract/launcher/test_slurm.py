"""What Slurm may do to a run: real daemons, of the tests' own, that are killed at the worst time.

Skipped if they cannot be started. All but one are too slow for the quick suite.
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.contract.launcher.kinds import Bench
from tests.contract.launcher.runs import (
    PIPELINES,
    cancel,
    holding,
    ran,
    verdict_of,
    worker_of,
)
from tests.root import alive, root_in, wait_until
from tests.slurm_cluster import SlurmCluster, slurm_cluster
from workers.records.claim import SUPERVISOR, read_claim

MORE = """
[pipelines.deaf]
stages = [{ id = "s", command = "trap '' TERM INT HUP; echo x >> ran; while :; do sleep 1; done" }]
[pipelines.slow]
stages = [{ id = "s", command = "echo $SUPERVISED_RUN_ID >> ran; sleep 1; echo end >> ends" }]
[pipelines.large]
resources = { cpus = 2, memory_mb = 100 }
stages = [{ id = "s", command = "env > environment; echo x >> ran" }]
"""


@dataclass
class Slurm:
    """A root whose runs a cluster of our own places."""

    bench: Bench
    cluster: SlurmCluster

    def run_dir(self, run_id: str) -> Path:
        return self.bench.path / ".runs/default/cli" / run_id

    def submit(self, pipeline: str) -> str:
        return self.bench.call("submit", pipeline).out.strip()

    def wait_until_placed(self, *run_ids: str) -> None:
        def are_placed() -> bool:
            keys = [e["key"] for e in self.bench.log() if e["event"] == "run_placed"]
            return {f"{run_id}.1" for run_id in run_ids} <= {k.rpartition(".")[0] for k in keys}

        wait_until(are_placed, "Slurm has the runs")

    def wait_for_note(self, text: str) -> None:
        wait_until(
            lambda: any(
                e["event"] == "engine_note" and text in e["text"] for e in self.bench.log()
            ),
            f"the operator is notified: {text}",
        )


def slurm_in(tmp_path: Path, held: ExitStack, cpus: int = 4) -> Slurm:
    cluster = held.enter_context(slurm_cluster(cpus=cpus))
    made = held.enter_context(root_in(tmp_path / "root"))
    bench = Bench(made.path, made.started, kind="slurm", environ=cluster.env)
    bench.configure(PIPELINES + MORE)
    return Slurm(bench, cluster)


@pytest.fixture
def slurm(tmp_path: Path) -> Iterator[Slurm]:
    """Two nodes of four CPUs."""
    with ExitStack() as held:
        yield slurm_in(tmp_path, held)


@pytest.fixture
def large_slurm(tmp_path: Path) -> Iterator[Slurm]:
    """Two nodes of 30 CPUs."""
    with ExitStack() as held:
        yield slurm_in(tmp_path, held, cpus=30)


def test_run_is_a_job_named_by_its_key_without_our_environment(
    slurm: Slurm,
) -> None:
    bench = slurm.bench
    done = bench.call("start", "--once", "large", env={"A_SECRET": "which stays here"})
    assert done.code == 0, done.err
    (manifest,) = bench.manifests()
    ((_, name, state),) = wait_until(
        lambda: [job for job in slurm.cluster.jobs() if job[2] != "COMPLETING"], "the job ends"
    )
    assert (name.rpartition(".")[0], state) == (f"{manifest['run_id']}.1", "COMPLETED")
    environment = (bench.path / "environment").read_text()
    assert "which stays here" not in environment
    assert "SLURM_CPUS_PER_TASK=2\n" in environment
    assert "SLURM_EXPORT_ENV" not in environment
    assert (slurm.run_dir(manifest["run_id"]) / "slurm.1.log").read_text() == ""
    bench.check_settled(count=1)


@pytest.mark.slow
@pytest.mark.fault("P31")
def test_none_of_fifty_runs_is_missed_or_runs_twice(large_slurm: Slurm) -> None:
    bench = large_slurm.bench
    bench.write("batch.toml", '[[runs]]\npipeline = "good"\ncount = 50\n')
    process = bench.popen("start", "--once", "--batch", "batch.toml")
    assert bench.finish(process).code == 0
    assert len(ran(bench)) == len(set(ran(bench))) == 50
    assert len(large_slurm.cluster.jobs()) == 50
    bench.check_settled(count=50)


@pytest.mark.slow
def test_job_that_slurm_rejects_is_spawn_failed_with_its_message(slurm: Slurm) -> None:
    bench = slurm.bench
    bench.configure(PIPELINES, 'slurm_options = ["--partition=nope"]\n')
    assert bench.call("start", "--once", "good").code == 12
    (line,) = bench.history()
    assert line["statusDetail"] == "spawn-failed"
    assert "invalid partition specified: nope" in str(verdict_of(bench, line["runId"])["reason"])
    bench.check_settled(count=1)


@pytest.mark.slow
@pytest.mark.fault("P33")
def test_runs_continue_if_the_daemon_of_their_node_is_killed(slurm: Slurm) -> None:
    bench = slurm.bench
    process = bench.serving()
    ids = holding(bench, 2)
    for node in ("na", "nb"):
        slurm.cluster.kill(node)
    bench.write("go", "")
    assert bench.call("wait", *ids).code == 0
    bench.stop(process)
    bench.check_settled(count=2)


@pytest.mark.slow
@pytest.mark.fault("P33")
def test_run_continues_if_slurmstepd_of_its_job_is_killed(slurm: Slurm) -> None:
    bench = slurm.bench
    process = bench.serving()
    (run_id,) = holding(bench, 1)
    for pid in alive("slurmstepd: ["):
        os.kill(pid, signal.SIGKILL)
    bench.write("go", "")
    assert bench.call("wait", run_id).code == 0
    bench.stop(process)
    bench.check_settled(count=1)


@pytest.mark.slow
@pytest.mark.fault("P31", "P33")
@pytest.mark.parametrize("later", ["at once", "when it runs"])
def test_controller_that_dies_after_a_submission_leaves_one_verdict(
    slurm: Slurm, later: str
) -> None:
    """It may forget a job, or bring one back that was cancelled; the claims make both harmless."""
    bench = slurm.bench
    process = bench.serving()
    ids = [slurm.submit("slow") for _ in range(6)]
    slurm.wait_until_placed(*ids)
    if later == "when it runs":
        wait_until(lambda: len(ran(bench)) >= 3, "some run")
    cancelled = ids[-2:]
    assert bench.call("cancel", *cancelled).code == 0
    slurm.cluster.kill("slurmctld")
    begun = [run_id for run_id in cancelled if run_id in ran(bench)]
    slurm.cluster.start_controller()
    slurm.cluster.wait_until_up(idle=False)
    assert bench.call("wait", *ids[:-2]).code == 0
    assert bench.call("wait", *cancelled).code == 11

    def are_done() -> bool:
        return all(state not in ("PENDING", "RUNNING") for _, _, state in slurm.cluster.jobs())

    wait_until(are_done, "whatever Slurm brought back has ended")
    bench.stop(process)
    bench.check_settled(count=6)
    assert len(ran(bench)) == len(set(ran(bench)))
    assert {run_id for run_id in cancelled if run_id in ran(bench)} == set(begun)


@pytest.mark.slow
@pytest.mark.fault("P31")
def test_cancelled_job_that_slurm_requeues_does_nothing(slurm: Slurm) -> None:
    bench, cluster = slurm.bench, slurm.cluster
    process = bench.serving()
    blockers = holding(bench, 8)  # all CPUs
    waiting = slurm.submit("good")
    slurm.wait_until_placed(waiting)
    (job,) = (job for job, name, _ in cluster.jobs() if name.startswith(waiting))
    assert bench.call("cancel", waiting).code == 0
    assert bench.call("wait", waiting).code == 11
    claim = read_claim(str(slurm.run_dir(waiting) / ".claim.1"))
    assert claim is not None
    assert claim.by == SUPERVISOR
    # What a controller does that lost the cancellation: the very job runs.
    wait_until(lambda: (job, "CANCELLED") in {(j, s) for j, _, s in cluster.jobs()}, "so it is")
    words = f"{sys.executable} -I -m workers {slurm.run_dir(waiting)} --claim 1"
    bench.write("go", "")
    assert bench.call("wait", *blockers).code == 0
    bench.write("again.sh", f"#!/bin/sh\nexec {words}\n")
    again = cluster.call("sbatch", "--parsable", "--output=/dev/null", f"{bench.path}/again.sh")
    wait_until(
        lambda: [s for j, _, s in cluster.jobs() if j == again.strip()] == ["FAILED"], "it ends"
    )
    assert waiting not in ran(bench)
    bench.stop(process)
    bench.check_settled(count=9)


@pytest.mark.slow
@pytest.mark.fault("P33")
def test_runs_wait_while_the_controller_is_away_and_the_operator_is_notified(slurm: Slurm) -> None:
    bench = slurm.bench
    process = bench.serving()
    slurm.cluster.kill("slurmctld")
    ids = [slurm.submit("good") for _ in range(3)]
    slurm.wait_for_note("Slurm does not answer")
    taken_back = ids.pop()
    assert bench.call("cancel", taken_back).code == 0
    assert bench.call("wait", taken_back).code == 11
    slurm.cluster.start_controller()
    assert bench.call("wait", *ids).code == 0
    slurm.wait_for_note("Slurm answers again")
    assert sorted(ran(bench)) == sorted(ids)
    bench.stop(process)
    bench.check_settled(count=3)


@pytest.mark.slow
@pytest.mark.fault("P30", "P33")
def test_supervisor_killed_while_slurm_is_away_finds_its_runs_again(slurm: Slurm) -> None:
    bench = slurm.bench
    process = bench.serving()
    holding(bench, 2)
    slurm.cluster.kill("slurmctld")
    waiting = slurm.submit("good")
    wait_until((slurm.run_dir(waiting) / "placement.json").exists, "it is placed")
    process.kill()
    process.wait()
    again = bench.popen("start", "--once")
    bench.write("go", "")
    both = bench.call("wait", *ran(bench))
    assert both.code == 0, "those at work end without Slurm"
    slurm.cluster.start_controller()
    assert bench.finish(again).code == 0
    assert len(ran(bench)) == len(set(ran(bench))) == 3
    bench.check_settled(count=3)


@pytest.mark.slow
def test_stage_that_ignores_sigterm_is_killed_by_its_worker_not_by_slurm(slurm: Slurm) -> None:
    bench = slurm.bench
    process = bench.serving()
    run_id = slurm.submit("deaf")
    wait_until(lambda: ran(bench), "the stage runs")
    cancel(bench, run_id)
    wait_until(lambda: not bench.stages(), "nothing of it is alive")
    bench.stop(process)
    bench.check_settled(count=1)


@pytest.mark.slow
def test_job_cancelled_in_slurm_ends_with_one_verdict(slurm: Slurm) -> None:
    """Slurm signals the stages too, so it is chance whether the worker hears of it first."""
    bench = slurm.bench
    process = bench.serving()
    (run_id,) = holding(bench, 1)
    ((job, _, _),) = slurm.cluster.jobs()
    slurm.cluster.call("scancel", job)
    assert bench.call("wait", run_id).code in (10, 11)
    wait_until(lambda: not bench.stages(), "nothing of it is alive")
    bench.stop(process)
    bench.check_settled(count=1)


@pytest.mark.slow
def test_worker_killed_on_its_node_is_lost_at_once(slurm: Slurm) -> None:
    bench = slurm.bench
    process = bench.serving()
    (run_id,) = holding(bench, 1)
    os.kill(worker_of(bench, run_id), signal.SIGKILL)
    assert bench.call("wait", run_id).code == 12
    assert "SIGKILL" in str(verdict_of(bench, run_id)["reason"])
    bench.stop(process)
    bench.check_settled(count=1)

"""Runs that Dask places, on a scheduler and workers of their own: what dies there costs no run."""

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.contract.launcher.kinds import Bench, bench_of
from tests.contract.launcher.runs import PIPELINES, RAN, ran
from tests.root import wait_until

pytest.importorskip("distributed", reason="Dask is not installed")

from stress.cluster import ENVIRON, Cluster, cluster_in

ALL = f"""{PIPELINES}
[pipelines.gpu]
resources = {{ gpu = 1 }}
stages = [{{ id = "s", command = "{RAN}" }}]
"""


@pytest.fixture
def held() -> Iterator[ExitStack]:
    """What a test enters, left at its end."""
    with ExitStack() as stack:
        yield stack


def made(held: ExitStack, tmp_path: Path, *slots: int) -> tuple[Bench, Cluster]:
    """A root, and a cluster with a worker for each number of slots."""
    cluster = held.enter_context(cluster_in(tmp_path / "dask", *slots))
    settings = f'dask_scheduler = "{cluster.address}"\n'
    bench = held.enter_context(bench_of("dask", tmp_path, settings))
    bench.configure(ALL)
    return bench, cluster


def submit(bench: Bench, pipeline: str, count: int) -> list[str]:
    return [bench.call("submit", pipeline).out.strip() for _ in range(count)]


def noted(bench: Bench, text: str) -> bool:
    notes = (line.get("text", "") for line in bench.log() if line["event"] == "engine_note")
    return any(text in note for note in notes)


def listening(pid: int) -> list[str]:
    """The addresses that a process listens on, as /proc/net tells them."""
    links = (os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir())
    sockets = {link[8:-1] for link in links if link.startswith("socket:[")}
    rows = [
        line.split()
        for name in ("tcp", "tcp6")
        for line in Path("/proc/net", name).read_text().splitlines()[1:]
    ]
    return [row[1].partition(":")[0] for row in rows if row[3] == "0A" and row[9] in sockets]


def settled(bench: Bench, ids: list[str]) -> None:
    """All runs succeed, each stage ran once, and the records say so."""
    bench.write("go", "")
    assert bench.call("wait", *ids).code == 0
    assert sorted(ran(bench)) == sorted(ids)
    assert bench.call("stop").code == 0
    bench.check_settled(count=len(ids))


def test_runs_wait_for_slots_and_children_take_none(held: ExitStack, tmp_path: Path) -> None:
    bench, _ = made(held, tmp_path, 1)
    process = bench.serving()
    ids = submit(bench, "hold", 3)
    wait_until(lambda: ran(bench), "one is at work")
    wait_until(lambda: len(list(bench.path.glob(".runs/*/cli/*/placement.json"))) == 3, "all wait")
    assert len(ran(bench)) == 1
    bench.write("go", "")
    assert bench.call("wait", *ids).code == 0
    assert bench.call("run", "sub").code == 0, "its child needs no second slot"
    bench.stop(process)
    bench.check_settled(count=5)


def test_no_run_waits_while_a_worker_has_room(held: ExitStack, tmp_path: Path) -> None:
    bench, cluster = made(held, tmp_path, 1)
    bench.serving()
    ids = submit(bench, "hold", 5)
    wait_until(lambda: ran(bench), "the slot is taken")
    cluster.start_worker(3)
    wait_until(lambda: len(ran(bench)) == 4, "a worker that came later has its share")
    settled(bench, ids)


@pytest.mark.fault("P33")
def test_a_killed_dask_worker_costs_no_run_and_makes_none_twice(
    held: ExitStack, tmp_path: Path
) -> None:
    bench, cluster = made(held, tmp_path, 2, 2)
    bench.serving()
    ids = submit(bench, "hold", 6)
    wait_until(lambda: len(ran(bench)) == 4, "all slots are taken")
    cluster.kill(cluster.workers[0])
    wait_until(
        lambda: [line for line in bench.log() if line["event"] == "placement_ended"][1:],
        "both of its runs are told",
    )
    cluster.start_worker(2)
    settled(bench, ids)


@pytest.mark.fault("P33")
def test_a_killed_scheduler_costs_no_run_whether_it_had_begun_or_not(
    held: ExitStack, tmp_path: Path
) -> None:
    bench, cluster = made(held, tmp_path, 2)
    bench.serving()
    ids = submit(bench, "hold", 4)
    wait_until(lambda: len(ran(bench)) == 2, "all slots are taken")
    cluster.kill(cluster.scheduler)
    ids += submit(bench, "hold", 1)
    cluster.start_scheduler()
    cluster.start_worker(5)
    wait_until(lambda: len(ran(bench)) == 5, "what waited has begun")
    settled(bench, ids)


@pytest.mark.slow
def test_a_killed_supervisor_finds_its_runs_where_they_are(held: ExitStack, tmp_path: Path) -> None:
    bench, cluster = made(held, tmp_path, 2)
    process = bench.serving()
    ids = submit(bench, "hold", 4)
    wait_until(lambda: len(ran(bench)) == 2, "all slots are taken")
    (agent,) = bench.agents(process.pid)
    process.kill()
    process.wait()
    wait_until(lambda: not Path(f"/proc/{agent}").exists(), "its agent has left")
    assert len(ran(bench)) == 2
    cluster.start_worker(5)
    bench.serving()
    settled(bench, ids)


@pytest.mark.slow
def test_a_killed_agent_is_replaced(held: ExitStack, tmp_path: Path) -> None:
    bench, cluster = made(held, tmp_path, 1)
    process = bench.serving()
    ids = submit(bench, "hold", 2)
    wait_until(lambda: ran(bench), "one is at work")
    bench.kill_agent(process.pid)
    cluster.start_worker(5)
    wait_until(lambda: len(ran(bench)) == 2, "what waited has begun")
    settled(bench, ids)


def test_a_run_in_the_schedulers_queue_is_cancelled_at_once(
    held: ExitStack, tmp_path: Path
) -> None:
    bench, _ = made(held, tmp_path, 1)
    process = bench.serving()
    (first,) = submit(bench, "hold", 1)
    wait_until(lambda: ran(bench), "it is at work")
    (waiting,) = submit(bench, "hold", 1)
    wait_until((bench.path / f".runs/default/cli/{waiting}/placement.json").exists, "it waits")
    assert bench.call("cancel", waiting).code == 0
    assert bench.call("wait", waiting).code == 11
    bench.write("go", "")
    assert bench.call("wait", first).code == 0
    assert bench.call("run", "good").code == 0, "the slot is free"
    assert waiting not in ran(bench)
    bench.stop(process)
    bench.check_settled(count=3)


def test_what_no_worker_offers_is_told_and_waits(held: ExitStack, tmp_path: Path) -> None:
    bench, _ = made(held, tmp_path, 1)
    process = bench.serving()
    (run_id,) = submit(bench, "gpu", 1)
    wait_until(lambda: noted(bench, "no Dask worker offers gpu = 1"), "it is told")
    assert bench.call("cancel", run_id).code == 0
    assert bench.call("wait", run_id).code == 11
    bench.stop(process)
    bench.check_settled(count=1)


@pytest.mark.slow
def test_a_scheduler_that_would_start_again_what_died_is_told(
    held: ExitStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ENVIRON, "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES", "3")
    bench, cluster = made(held, tmp_path, 1, 1)
    bench.serving()
    ids = submit(bench, "hold", 1)
    wait_until(lambda: ran(bench), "it is at work")
    assert noted(bench, "allowed-failures = 3")
    cluster.kill(cluster.workers[0])  # one of both has it, and the other gets it then
    cluster.kill(cluster.workers[1])
    cluster.start_worker(1)
    settled(bench, ids)


@pytest.mark.slow
def test_runs_wait_for_a_scheduler_that_is_not_there_yet(held: ExitStack, tmp_path: Path) -> None:
    bench, cluster = made(held, tmp_path)
    cluster.kill(cluster.scheduler)
    bench.serving()
    ids = submit(bench, "good", 2)
    wait_until(lambda: noted(bench, "no Dask scheduler"), "it is told")
    cluster.start_scheduler()
    cluster.start_worker(2)
    settled(bench, ids)


def test_without_a_scheduler_a_cluster_on_this_host_does_to_try_it(
    held: ExitStack, tmp_path: Path
) -> None:
    bench = held.enter_context(bench_of("dask", tmp_path))
    bench.configure(ALL)
    process = bench.serving()
    first = submit(bench, "hold", 1)
    wait_until(lambda: ran(bench), "it is at work")
    (agent,) = bench.agents(process.pid)
    assert set(listening(agent)) <= {"0100007F"}, "nobody else can reach it"
    os.kill(agent, signal.SIGKILL)  # the cluster dies with it, and no run does
    ids = first + submit(bench, "good", 2)
    settled(bench, ids)

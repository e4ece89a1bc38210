"""Runs on hosts of their own names, process ids and mounts, which share a folder and nothing else.

Their process ids are the same numbers, and so is the boot id, as with containers of one machine.
The supervisor has a host of its own. Skipped if namespaces cannot be created.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.contract.launcher.host_engine import SPOOLS
from tests.contract.launcher.hosts import Host, hosts
from tests.contract.launcher.kinds import HERE, Bench
from tests.contract.launcher.runs import PIPELINES, cancel, holding, verdict_of
from tests.root import root_in, wait_until

SPEAKS = """
import os, signal, sys
def note(number, _):
    with open(sys.argv[1], "a") as file:
        file.write(f"{number} ")
for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, 32, 33}:
    signal.signal(number, note)
open(sys.argv[1], "a").close()
while True:
    signal.pause()
"""


@dataclass
class Many:
    """A root with a supervisor's host and others."""

    bench: Bench
    head: Host
    others: list[Host]

    def configure(self, *, hung_after_s: float) -> None:
        self.bench.configure(PIPELINES)
        config = self.bench.path / "config/supervisor.toml"
        text = config.read_text().replace("hung_after_s = 30.0", f"hung_after_s = {hung_after_s}")
        config.write_text(text.replace("stale_after_s = 1.0", "stale_after_s = 0.5"))

    def run_dir(self, run_id: str) -> Path:
        return self.bench.path / ".runs/default/cli" / run_id

    def worker(self, run_id: str) -> dict[str, Any]:
        """Who the worker of a run is, by its journal."""
        (started,) = [e for e in self.bench.events(run_id) if e["event"] == "run_started"]
        found: dict[str, Any] = started["identity"]
        return found

    def keeper(self, run_id: str) -> dict[str, Any]:
        """Who the keeper of a run is, by its claim."""
        (path,) = self.run_dir(run_id).glob(".claim.*")
        found: dict[str, Any] = json.loads(path.read_bytes().splitlines()[0])["identity"]
        return found

    def stages_on(self, host: Host, run_id: str) -> list[int]:
        """The living processes of a run's stages there."""
        found = []
        for pid in host.pids():
            try:
                environ = Path(f"/proc/{pid}/environ").read_bytes()
            except OSError:
                continue
            if f"SUPERVISED_RUN_ID={run_id}".encode() in environ:
                found.append(pid)
        return found

    def start(self) -> "subprocess.Popen[str]":
        """Start a supervisor that stays; a second one too."""
        before = sum(e["event"] == "supervisor_started" for e in self._log())
        process = self.bench.popen("start")
        wait_until(
            lambda: sum(e["event"] == "supervisor_started" for e in self._log()) > before,
            "the supervisor serves",
        )
        return process

    def _log(self) -> list[dict[str, Any]]:
        path = self.bench.path / ".runs/.supervisor/supervisor.log"
        return self.bench.log() if path.exists() else []


@contextmanager
def many(tmp_path: Path, *names: str) -> Iterator[Many]:
    with ExitStack() as held:
        made = held.enter_context(root_in(tmp_path / "root"))
        (head,) = held.enter_context(hosts(tmp_path / "head", ["head"]))
        others = held.enter_context(hosts(tmp_path / "others", names))
        bench = Bench(
            made.path,
            made.started,
            kind="placed",
            program=(
                *head.entering(str(made.path)),
                sys.executable,
                str(HERE / "supervised.py"),
            ),
            environ={
                SPOOLS: str(tmp_path / "others"),
                "TEST_AGENT": "host_engine.py",
                "PYTHONPATH": str(HERE.parents[2]),
            },
        )
        made_many = Many(bench, head, others)
        made_many.configure(hung_after_s=1.5)
        yield made_many


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Many]:
    """Two hosts and the supervisor's."""
    with many(tmp_path, "a", "b") as made:
        yield made


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Many]:
    """One host and the supervisor's."""
    with many(tmp_path, "b") as made:
        yield made


def test_runs_with_the_same_process_ids_on_two_hosts_are_distinguished(two: Many) -> None:
    bench = two.bench
    for host in two.others:
        host.number_next(4000)
    process = two.start()
    ids = holding(bench, 2)
    workers = [two.worker(run_id) for run_id in ids]
    assert {worker["host"] for worker in workers} == {"a", "b"}
    assert workers[0]["pid"] == workers[1]["pid"]
    assert workers[0]["boot_id"] == workers[1]["boot_id"]
    lost, other = ids
    host = next(host for host in two.others if host.name == two.worker(lost)["host"])
    os.kill(host.inside(two.worker(lost)["pid"]), signal.SIGKILL)
    assert bench.call("wait", lost).code == 12
    reason = str(verdict_of(bench, lost)["reason"])
    assert "SIGKILL" in reason
    assert f"on {host.name}" in reason
    assert not two.stages_on(host, lost)
    bench.write("go", "")
    assert bench.call("wait", other).code == 0
    bench.stop(process)
    bench.check_settled(count=2)


@pytest.mark.slow
def test_run_on_another_host_is_cancelled_by_its_worker(one: Many) -> None:
    bench, (host,) = one.bench, one.others
    process = one.start()
    (run_id,) = holding(bench, 1)
    cancel(bench, run_id)
    assert not one.stages_on(host, run_id)
    bench.stop(process)
    bench.check_settled(count=1)


@pytest.mark.slow
@pytest.mark.fault("P32")
def test_runs_of_a_vanished_host_are_lost_and_the_host_is_named(two: Many) -> None:
    bench = two.bench
    process = two.start()
    ids = holding(bench, 2)
    host = two.others[0]
    lost, other = sorted(ids, key=lambda run_id: two.worker(run_id)["host"] != host.name)
    host.kill()
    assert bench.call("wait", lost).code == 12
    verdict = verdict_of(bench, lost)
    assert (verdict["detail"], verdict["by"]) == ("worker-lost", "supervisor")
    assert f"host {host.name}" in str(verdict["reason"])
    bench.write("go", "")
    assert bench.call("wait", other).code == 0
    bench.stop(process)
    bench.check_settled(count=2)


@pytest.mark.fault("P32")
def test_host_that_returns_after_the_verdict_ends_its_run_and_writes_nothing(
    one: Many,
) -> None:
    bench, (host,) = one.bench, one.others
    process = one.start()
    (run_id,) = holding(bench, 1)
    host.pause()
    assert bench.call("wait", run_id).code == 12
    told = (one.run_dir(run_id) / "journal.ndjson").read_bytes()
    assert one.stages_on(host, run_id), "it is frozen and not gone"
    bench.write("go", "")  # its stage would succeed now
    host.resume()
    wait_until(lambda: not one.stages_on(host, run_id), "it ends its stages")
    wait_until(lambda: len(host.pids()) == 1, "worker and keeper end")
    assert (one.run_dir(run_id) / "journal.ndjson").read_bytes() == told
    assert verdict_of(bench, run_id)["by"] == "supervisor"
    bench.stop(process)
    bench.check_settled(count=1)


@pytest.mark.slow
@pytest.mark.fault("P32")
def test_host_that_loses_the_folder_ends_its_run_and_writes_nothing(one: Many) -> None:
    bench, (host,) = one.bench, one.others
    process = one.start()
    (run_id,) = holding(bench, 1)
    host.call("mount", "-t", "tmpfs", "none", str(bench.path / ".runs"))
    assert bench.call("wait", run_id).code == 12
    wait_until(lambda: not one.stages_on(host, run_id), "it ends its stages")
    host.call("umount", str(bench.path / ".runs"))
    wait_until(lambda: len(host.pids()) == 1, "worker and keeper end")
    assert verdict_of(bench, run_id)["by"] == "supervisor"
    bench.stop(process)
    bench.check_settled(count=1)


@pytest.mark.slow
def test_host_that_was_slow_for_a_while_loses_no_run(one: Many) -> None:
    bench, (host,) = one.bench, one.others
    one.configure(hung_after_s=60.0)
    process = one.start()
    (run_id,) = holding(bench, 1)
    host.pause()

    def is_noticed() -> bool:
        return "unresponsive" in bench.call("status", "--json").out

    wait_until(is_noticed, "it is shown")
    host.resume()
    bench.write("go", "")
    assert bench.call("wait", run_id).code == 0
    bench.stop(process)
    bench.check_settled(count=1)


def stranger(host: Host, pid: int, notes: Path) -> "subprocess.Popen[bytes]":
    """A process of a host with this very pid, which notes every signal that it gets."""

    def started() -> "subprocess.Popen[bytes] | None":
        host.number_next(pid)
        words = [*host.entering(), sys.executable, "-c", SPEAKS, str(notes)]
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL)
        wait_until(notes.exists, "it notes signals")
        try:
            host.inside(pid)
        except AssertionError:
            process.kill()  # another process took the pid
            process.wait()
            notes.unlink()
            return None
        return process

    process: subprocess.Popen[bytes] = wait_until(started, f"a process has the pid {pid}")
    return process


def forge(path: Path, who: dict[str, Any], ticks: int) -> None:
    """Let a record name another start of a process, in place and with as many digits."""
    old, new = (f'"pid": {who["pid"]}, "start_ticks": {n}' for n in (who["start_ticks"], ticks))
    data = path.read_bytes()
    assert data.count(old.encode()) == 1, (old, data)
    assert len(old) == len(new)
    with path.open("r+b") as file:
        file.write(data.replace(old.encode(), new.encode()))


@pytest.mark.fault("P16", "S12")
@pytest.mark.parametrize(
    "name",
    [
        pytest.param("b", id="another name", marks=pytest.mark.slow),
        pytest.param("head", id="the same name"),
    ],
)
@pytest.mark.parametrize(
    "what",
    [
        pytest.param("cancel", marks=pytest.mark.slow),
        pytest.param("worker killed", marks=pytest.mark.slow),
        "host is frozen",
    ],
)
def test_process_with_the_pid_and_start_of_a_remote_worker_gets_no_signal(
    tmp_path: Path, name: str, what: str
) -> None:
    """Also if the other host has our name and boot id, as a container of this machine may have."""
    with many(tmp_path, name) as made:
        bench, head, (host,) = made.bench, made.head, made.others
        host.number_next(7000)
        process = made.start()
        (run_id,) = holding(bench, 1)
        assert bench.call("stop", "--leave-running").code == 0
        bench.finish(process)
        keeper, worker = made.keeper(run_id), made.worker(run_id)
        (claim,) = made.run_dir(run_id).glob(".claim.*")
        strangers = []
        for path, who in ((claim, keeper), (made.run_dir(run_id) / "journal.ndjson", worker)):
            notes = tmp_path / f"signals.{who['pid']}"
            strangers.append((stranger(head, who["pid"], notes), notes))
            stat = Path(f"/proc/{head.inside(who['pid'])}/stat").read_text()
            forge(path, who, int(stat.rpartition(")")[2].split()[19]))
        try:
            process = made.start()
            match what:
                case "cancel":
                    assert bench.call("cancel", run_id).code == 0
                    assert bench.call("wait", run_id).code == 11
                case "worker killed":
                    os.kill(host.inside(worker["pid"]), signal.SIGKILL)
                    assert bench.call("wait", run_id).code == 12
                case _:
                    host.pause()
                    assert bench.call("wait", run_id).code == 12
                    host.resume()
                    wait_until(lambda: len(host.pids()) == 1, "worker and keeper end")
            bench.stop(process)
            for other, notes in strangers:
                assert other.poll() is None
                assert notes.read_text() == ""
            bench.check_settled(count=1)
        finally:
            for other, _ in strangers:
                other.kill()
                other.wait()

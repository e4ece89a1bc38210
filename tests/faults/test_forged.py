"""Numbers and paths that somebody wrote into records: proven before use, or not used."""

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.daemon.process_table import works_on
from tests.root import Root, alive, wait_until
from workers.records.identity import Identity, boot_id, send_signal
from workers.records.proc import proc_stat

HOLD = '[pipelines.p]\nstages = [{ id = "s", command = "touch begun; sleep 60" }]\n'


@pytest.fixture
def bystander() -> Iterator["subprocess.Popen[bytes]"]:
    """A process that leads a session of its own and that no signal may reach."""
    process = subprocess.Popen(["sleep", "600"], start_new_session=True)
    yield process
    assert process.poll() is None, f"the bystander got a signal: {process.returncode}"
    process.kill()
    process.wait()


def lost(root: Root) -> Path:
    """The journal of a run whose supervisor and worker were killed."""
    root.configure(HOLD)
    process = root.popen("start", "--once", "p")
    wait_until((root.path / "begun").exists, "the stage runs")
    process.kill()
    root.finish(process)
    for pid in alive(f"workers\0{root.path}"):
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not alive(f"workers\0{root.path}"), "the worker is gone")
    (directory,) = (root.path / ".runs/default/cli").iterdir()
    return directory / "journal.ndjson"


def forge(journal: Path, **values: object) -> None:
    """Change the identity that the journal names."""
    lines = journal.read_text().splitlines()
    for at, line in enumerate(lines):
        fact = json.loads(line)
        if fact["event"] == "run_started":
            lines[at] = json.dumps({**fact, "identity": {**fact["identity"], **values}})
    journal.write_text("\n".join(lines) + "\n")


def ticks(pid: int) -> int:
    stat = proc_stat(pid)
    return stat.start_ticks if stat else 0


@pytest.mark.fault("S12", "P16")
def test_no_signal_goes_to_a_pid_that_a_journal_names(
    root: Root, bystander: "subprocess.Popen[bytes]"
) -> None:
    journal = lost(root)
    forge(journal, pid=bystander.pid, start_ticks=ticks(bystander.pid))
    assert root.call("start", "--once").code == 12
    assert not root.stages(), "what carries the run's id is ended all the same"
    (manifest,) = root.manifests()
    assert manifest["status_detail"] == "worker-lost"


@pytest.mark.fault("S12")
@pytest.mark.parametrize("pid", [-1, 0, 1, pytest.param(os.getpid(), id="ourselves")])
def test_nobody_is_taken_for_a_worker_by_a_number_that_is_no_workers(
    tmp_path: Path, pid: int
) -> None:
    """Not tried on a whole supervisor: what a bug would signal here is everybody's."""
    with (tmp_path / ".owner").open("w") as owner:  # we hold it, as supervisors do for a moment
        named = Identity(
            host=socket.gethostname(), boot_id=boot_id(), pid=pid, start_ticks=ticks(pid)
        )
        assert not works_on(named, owner.name)
    if pid != os.getpid():
        assert not send_signal(pid, ticks(pid), 0), "0 would only ask whether it is there"


@pytest.mark.fault("S12")
def test_a_cancel_of_a_living_run_reaches_its_worker_and_not_the_pid_that_is_named(
    root: Root, bystander: "subprocess.Popen[bytes]"
) -> None:
    root.configure(HOLD)
    process = root.popen("start", "--once", "p")
    wait_until((root.path / "begun").exists, "the stage runs")
    process.kill()
    root.finish(process)
    (directory,) = (root.path / ".runs/default/cli").iterdir()
    forge(directory / "journal.ndjson", pid=bystander.pid, start_ticks=ticks(bystander.pid))
    (root.path / ".runs/.supervisor/status.json").unlink()
    again = root.serving()
    assert root.call("cancel", directory.name).code == 0
    assert not root.stages()
    again.send_signal(signal.SIGTERM)
    root.finish(again)


@pytest.mark.fault("T4")
def test_a_run_of_a_boot_that_is_over_is_lost_at_once_and_no_pid_is_asked(
    root: Root, bystander: "subprocess.Popen[bytes]"
) -> None:
    journal = lost(root)
    assert boot_id() in journal.read_text()
    forge(
        journal,
        boot_id="00000000-0000-0000-0000-000000000000",
        pid=bystander.pid,
        start_ticks=ticks(bystander.pid),
        host=socket.gethostname(),
    )
    assert root.call("start", "--once").code == 12
    (manifest,) = root.manifests()
    assert manifest["status_detail"] == "worker-lost"
    assert manifest["extensions"]["duration_s"] is None, "clocks of two boots are not compared"


@pytest.mark.fault("S13")
def test_paths_in_a_journal_and_a_manifest_are_never_used(root: Root) -> None:
    journal = lost_before_it_was_recorded(root)
    outside = root.write("outside.json", '{"details": {"stdout": "OUTSIDE", "stderr": ""}}')
    text = journal.read_text()
    assert '"error_file": ".runs' in text
    journal.write_text(text.replace('"error_file": ".runs', '"error_file": "../../../.runs'))
    assert root.call("start", "--once").code == 10
    manifest_path = journal.with_name("manifest.json")
    manifest = json.loads(manifest_path.read_text())
    assert manifest["commands"][0]["error_file"] == root.layout.relative(
        str(journal.with_name("errors") / "01-s.json")
    )
    manifest["commands"][0]["error_file"] = "outside.json"
    manifest["log_path"] = manifest["artifact_root"] = "../.."
    manifest_path.write_text(json.dumps(manifest))
    shown = root.call("show", "latest")
    assert (shown.code, "OUTSIDE" in shown.out) == (0, False)
    assert "stdout | out" in shown.out
    manifest["commands"][0]["id"] = "../../../../../../outside"
    manifest_path.write_text(json.dumps(manifest))
    assert "OUTSIDE" not in root.call("show", "latest").out
    assert outside.exists()


def lost_before_it_was_recorded(root: Root) -> Path:
    """The journal of a run whose supervisor died before it recorded the verdict."""
    root.configure(
        '[pipelines.p]\nstages = [{ id = "s", '
        'command = "touch begun; while ! test -e go; do sleep 0.05; done; echo out; exit 1" }]\n'
    )
    process = root.popen("start", "--once", "p")
    wait_until((root.path / "begun").exists, "the stage runs")
    process.kill()
    root.finish(process)
    root.write("go", "")
    wait_until(lambda: not alive(f"workers\0{root.path}"), "the worker ended")
    (directory,) = (root.path / ".runs/default/cli").iterdir()
    return directory / "journal.ndjson"


@pytest.mark.fault("S13")
@pytest.mark.parametrize("name", ["run_id", "task_id"])
def test_a_spec_that_names_another_place_is_not_followed(root: Root, name: str) -> None:
    run_id = root.call("submit", "--", "touch", "done").out.strip()
    (request,) = Path(root.layout.inbox).glob("*.json")
    record = json.loads(request.read_text())
    record["runs"][0][name] = "../../../../outside"
    request.write_text(json.dumps(record))
    assert root.call("status").code == 0
    done = root.call("start", "--once")
    assert done.code == 0
    assert "quarantined" in done.err
    assert not list(root.path.rglob("outside*"))
    assert not (root.path / "done").exists()
    assert root.call("status", run_id).code == 4


@pytest.mark.fault("S13")
def test_a_journal_that_names_a_stage_elsewhere_leads_no_reader_there(root: Root) -> None:
    assert root.call("run", "--", "echo", "mine").code == 0
    root.write("outside.stdout.log", "OUTSIDE")
    (directory,) = (root.path / ".runs/default/cli").iterdir()
    journal = directory / "journal.ndjson"
    text = journal.read_text()
    journal.write_text(text.replace('"stage": "echo"', '"stage": "x/../../../../../../outside"'))
    done = root.call("logs", "latest")
    assert "OUTSIDE" not in done.out
    assert root.call("verify").code == 65


@pytest.mark.fault("T7")
def test_a_heart_that_somebody_else_beats_keeps_no_dead_worker_alive(root: Root) -> None:
    root.configure(HOLD)
    process = root.popen("start", "--once", "p")
    wait_until((root.path / "begun").exists, "the stage runs")
    (directory,) = (root.path / ".runs/default/cli").iterdir()
    script = 'while :; do date -u +%Y-%m-%dT%H:%M:%S.000Z >> "$0"; sleep 0.02; done'
    forger = subprocess.Popen(["sh", "-c", script, str(directory / ".heartbeat")])
    try:
        for pid in alive(f"workers\0{root.path}"):
            os.kill(pid, signal.SIGKILL)
        assert root.finish(process).code == 12
    finally:
        forger.kill()
        forger.wait()
    assert root.manifests()[0]["status_detail"] == "worker-lost"


@pytest.mark.fault("T7", "F21")
def test_a_heartbeat_of_an_earlier_boot_makes_nobody_stale(root: Root) -> None:
    root.configure('[pipelines.p]\nstages = [{ id = "s", command = "sleep 0.5" }]\n')
    root.call("submit", "p")
    (process,) = [root.popen("start", "--once")]
    wait_until(lambda: list((root.path / ".runs/default/cli").glob("*/.heartbeat")), "it beats")
    (beats,) = (root.path / ".runs/default/cli").glob("*/.heartbeat")
    beats.write_text("1970-01-01T00:00:00.000Z\n" * 3)
    os.utime(beats, (0, 0))
    assert root.finish(process).code == 0
    root.check_settled(count=1)

"""Processes that no signal ends, played by frozen ones; and those that the kernel ends itself."""

import os
import signal
from pathlib import Path

import pytest

from tests.contract.worker.work import make, shell
from tests.faults.cgroups import cgroup
from tests.holding import worker_of
from tests.root import Root, wait_until
from workers.records.limits import Limits

# As the program, but it gives up what survives SIGKILL after 0.3 s instead of 10.
IMPATIENT = """
import sys
from workers import __main__ as program
from workers.stages import try_runner
try_runner.GIVE_UP_S = 0.3
sys.exit(program.main(["workers", sys.argv[1]]))
"""


def frozen(group: Path, directory: Path) -> int:
    """Freeze the process that wrote its pid, and return it."""
    wait_until((directory / "pid").exists, "the process has begun")
    pid = int((directory / "pid").read_text())
    (group / "cgroup.procs").write_text(str(pid))
    (group / "freezer.state").write_text("FROZEN")
    wait_until(lambda: (group / "freezer.state").read_text() == "FROZEN\n", "it is frozen")
    return pid


@pytest.mark.fault("P28")
def test_a_worker_lists_what_survives_the_kill_and_goes_on(tmp_path: Path) -> None:
    script = "sleep 600 >/dev/null 2>&1 & echo $! > new; mv new pid; "
    script += "while ! test -e go; do sleep 0.05; done"
    limits = Limits(heartbeat_interval_s=0.1, grace_s=0.2)
    run = make(tmp_path, [shell(script, "bad"), shell("true", "next")], limits=limits)
    process = run.start_script(IMPATIENT)
    with cgroup("freezer", tmp_path.name) as group:
        pid = frozen(group, tmp_path)
        (tmp_path / "go").touch()
        _, err = process.communicate(timeout=60)
        assert err == b""
        assert run.verdict["leftover_pids"] == [pid]
        assert run.verdict["status"] == "succeeded"


# As IMPATIENT, and no signal reaches any process: it has changed its user.
FORBIDDEN = IMPATIENT.replace(
    "try_runner.GIVE_UP_S",
    """
import os, signal
def forbidden(*_):
    raise PermissionError(1, "not permitted")
signal.pidfd_send_signal = os.kill = forbidden
try_runner.GIVE_UP_S""",
)


@pytest.mark.fault("P28")
def test_leftover_that_may_not_be_signalled_is_named_and_the_run_ends(tmp_path: Path) -> None:
    script = "sleep 600 >/dev/null 2>&1 & echo $! > pid"
    limits = Limits(heartbeat_interval_s=0.1, grace_s=0.2)
    run = make(tmp_path, [shell(script, "bad"), shell("true", "next")], limits=limits)
    _, err = run.start_script(FORBIDDEN).communicate(timeout=60)
    pid = int((tmp_path / "pid").read_text())
    try:
        assert err == b""
        assert run.verdict["leftover_pids"] == [pid]
        assert run.verdict["status"] == "succeeded"
        (warning,) = run.of("warning")
        assert warning["code"] == "leftover_alive"
        about = f"process {pid} of uid {os.getuid()} may not be signalled by uid {os.geteuid()}"
        assert warning["message"] == f"bad: {about}; left alive"
    finally:
        os.kill(pid, signal.SIGKILL)


@pytest.mark.fault("P28")
def test_what_survives_of_a_lost_run_is_in_its_verdict_and_the_supervisor_goes_on(
    root: Root,
) -> None:
    stage = "echo $$ > new; mv new pid; sleep 600"
    root.configure(f"[pipelines.p]\nstages = [{{ id = 's', command = '{stage}' }}]\n")
    process = root.popen("start", "--once", "p")
    with cgroup("freezer", root.path.parent.name) as group:
        pid = frozen(group, root.path)
        run_id = root.manifests()[0]["run_id"]
        os.kill(worker_of(run_id), signal.SIGKILL)
        root.wait_for_status(run_id, "failed")
        (verdict,) = [e for e in root.events(run_id) if e["event"] == "verdict"]
        assert verdict["leftover_pids"] == [pid]
        assert root.call("run", "--", "true").code == 0, "another run is served meanwhile"
        assert process.poll() is None, "the killing goes on"
    assert root.finish(process).code == 12
    assert not root.stages()
    root.check_settled(count=2)


GREEDY = "import os; x = bytearray(256 * 1024 * 1024); print(len(x))"


@pytest.mark.fault("P22")
def test_a_stage_killed_for_want_of_memory_has_failed_by_its_signal(root: Root) -> None:
    with cgroup("memory", root.path.parent.name) as group:
        (group / "memory.limit_in_bytes").write_text(str(32 * 1024 * 1024))
        root.write("greedy.py", GREEDY)
        command = f"echo $$ > {group}/cgroup.procs && exec python3 greedy.py"
        root.configure(f"[pipelines.p]\nstages = [{{ id = 's', command = '{command}' }}]\n")
        assert root.call("start", "--once", "p").code == 10
    (manifest,) = root.manifests()
    (ended,) = [e for e in root.events(manifest["run_id"]) if e["event"] == "stage_ended"]
    assert (ended["exit_code"], ended["signal"]) == (None, "SIGKILL")
    assert "out of memory?" in manifest["commands"][0]["summary"]
    root.check_settled(count=1)

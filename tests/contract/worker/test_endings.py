"""Runs ended by a signal, a deadline, or a bug in the worker."""

import contextlib
import signal
import subprocess
from pathlib import Path

import pytest

from tests.contract.worker.work import SPAWN_IGNORES, Run, make, shell, work
from tests.root import alive, wait_until
from workers.records.spec import RetrySpec

FOREVER = RetrySpec(attempts=9, delay_s=600.0)


def cancelled(run: Run) -> None:
    assert (run.verdict["status"], run.verdict["detail"]) == ("cancelled", "stopped")
    assert not alive(f"SUPERVISED_ROOT={run.root}")


@pytest.mark.fault("P19", "P20")
def test_sighup_changes_nothing_and_is_not_ignored_by_stages(tmp_path: Path) -> None:
    script = "touch begun; while ! test -e go; do sleep 0.02; done; grep SigIgn /proc/self/status"
    run = make(tmp_path, [shell(script)])
    process = run.start()
    wait_until((tmp_path / "begun").exists, "the stage runs")
    process.send_signal(signal.SIGHUP)
    (tmp_path / "go").touch()
    process.communicate(timeout=60)
    assert run.verdict["status"] == "succeeded"
    assert int(run.log(1, "s").split()[1], 16) & ~SPAWN_IGNORES == 0


def test_sigint_cancels_like_sigterm(tmp_path: Path) -> None:
    run = make(tmp_path, [shell("touch begun; sleep 600")])
    process = run.start()
    wait_until((tmp_path / "begun").exists, "the stage runs")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    cancelled(run)


@pytest.mark.fault("P8")
def test_many_signals_give_one_verdict(tmp_path: Path) -> None:
    run = make(tmp_path, [shell("trap '' TERM; touch begun; while :; do sleep 0.1; done")])
    process = run.start()
    wait_until((tmp_path / "begun").exists, "the stage runs")
    for _ in range(100):
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert err == b""
    cancelled(run)


def test_run_cancelled_before_it_began_starts_no_stage(tmp_path: Path) -> None:
    run = make(tmp_path, [shell("touch ran")])
    Path(run.run.cancel).write_text('{"detail": "cancelled-by-user"}')
    run.start().communicate(timeout=60)
    assert (run.verdict["status"], run.verdict["detail"]) == ("cancelled", "cancelled-by-user")
    assert not run.of("stage_started")
    assert not (tmp_path / "ran").exists()


def test_cancellation_ends_the_wait_between_two_tries_and_keeps_the_log(tmp_path: Path) -> None:
    run = make(tmp_path, [shell("echo x; exit 1", retries=FOREVER)])
    process = run.start()
    wait_until(lambda: run.of("stage_retried"), "it waits for the next try")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    cancelled(run)
    (ended,) = run.of("stage_ended")
    assert (ended["try"], ended["reason"], ended["status"]) == (1, "cancelled", "failed")
    assert run.log(1, "s") == b"x\n"


def test_wait_beyond_the_pipelines_deadline_does_not_begin(tmp_path: Path) -> None:
    run = work(tmp_path, shell("exit 1", retries=FOREVER), timeout_s=30.0)
    assert run.verdict["detail"] == "stage:s:failed"
    assert not run.of("stage_retried")


def test_pipeline_that_times_out_in_an_optional_stage_is_timed_out(tmp_path: Path) -> None:
    run = work(tmp_path, shell("sleep 600", allow_failure=True), timeout_s=0.3)
    assert (run.verdict["status"], run.verdict["detail"]) == ("failed", "timed-out")
    assert run.of("stage_ended")[0]["status"] == "failed"


def test_timed_out_try_is_retried(tmp_path: Path) -> None:
    script = "test $SUPERVISED_TRY = 2 || sleep 600"
    retries = RetrySpec(attempts=2, delay_s=0.01)
    run = work(tmp_path, shell(script, timeout_s=3.0, retries=retries))
    assert run.verdict["status"] == "succeeded"
    assert run.of("stage_retried")[0]["reason"] == "timed-out"


# A bug in the worker must still end in a verdict.
BROKEN = """
import os, sys
HERE = os.getcwd()
from workers import __main__ as program
from workers.stages import try_runner
def bug(self, now):
    import os, time
    while not os.path.exists(HERE + "/begun"):
        time.sleep(0.01)
    raise RuntimeError("a bug")
try_runner.TryRunner._advance = bug
try_runner.CHECK_EVERY_S = 0.0
sys.exit(program.main(["workers", sys.argv[1]]))
"""


def test_bug_ends_everything_and_becomes_the_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    monkeypatch.chdir(tmp_path)
    run = make(tmp_path, [shell("setsid sleep 600 & touch begun; sleep 600"), shell("true", "b")])
    process = run.start_script(BROKEN)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert b"RuntimeError: a bug" in err
    assert (run.verdict["status"], run.verdict["detail"]) == ("failed", "stage:s:error")
    assert "RuntimeError: a bug" in run.verdict["reason"]
    (ended,) = run.of("stage_ended")
    assert ended["reason"] == "internal-error"
    assert run.error(1, "s")["reason"] == "internal-error"
    assert not alive(f"SUPERVISED_ROOT={tmp_path}")


# As above, in the second of two running stages.
BROKEN_BESIDE = """
import os, sys
HERE = os.getcwd()
from workers import __main__ as program
from workers.stages import try_runner
advance = try_runner.TryRunner._advance
def bug(self, now):
    if self._command.stage_id == "guilty" and os.path.exists(HERE + "/begun"):
        raise RuntimeError("a bug")
    return advance(self, now)
try_runner.TryRunner._advance = bug
try_runner.CHECK_EVERY_S = 0.1
sys.exit(program.main(["workers", sys.argv[1]]))
"""


def test_bug_among_several_stages_names_the_right_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    monkeypatch.chdir(tmp_path)
    begins = "setsid sleep 600 & echo said; touch begun; sleep 600"
    stages = [shell(begins, "innocent", needs=()), shell("sleep 600", "guilty", needs=())]
    run = make(tmp_path, stages)
    process = run.start_script(BROKEN_BESIDE)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert b"KeyError" not in err, err.decode()
    assert (run.verdict["status"], run.verdict["detail"]) == ("failed", "stage:guilty:error")
    ended = {fact["stage"]: fact["reason"] for fact in run.of("stage_ended")}
    assert ended == {"innocent": "internal-error", "guilty": "internal-error"}
    assert run.log(1, "innocent") == b"said\n"
    assert not alive(f"SUPERVISED_ROOT={tmp_path}")


# Another thread of the worker waits for any child, like a careless library.
THIEF = """
import contextlib, os, sys, threading, time
from workers import __main__ as program
def steal():
    while True:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(-1, 0)
        time.sleep(0.001)
threading.Thread(target=steal, daemon=True).start()
sys.exit(program.main(["workers", sys.argv[1]]))
"""


@pytest.mark.fault("P18")
def test_stolen_exit_status_is_no_success(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    run = make(tmp_path, [shell("exit 7")])
    _, err = run.start_script(THIEF).communicate(timeout=60)
    assert err == b""
    (ended,) = run.of("stage_ended")
    recorded = (ended["reason"], ended["exit_code"])
    assert recorded in [("exit-status-unknown", None), ("command-failed", 7)], "who was quicker"
    assert run.verdict["status"] == "failed"


# The disk is full for the journal until the file "room" appears.
FULL = """
import errno, os, sys
HERE = os.getcwd()
from workers import __main__ as program
from workers.records import journal
real = journal.JournalWriter.append
def append(self, event, data, *, flush=True):
    if event != "run_started" and not os.path.exists(HERE + "/room"):
        open("refused", "w").close()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return real(self, event, data, flush=flush)
journal.JournalWriter.append = append
sys.exit(program.main(["workers", sys.argv[1]]))
"""


def full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    monkeypatch.chdir(tmp_path)
    return make(tmp_path, [shell("touch ran"), shell("touch ran2", "b")])


def test_full_disk_costs_time_but_no_fact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = full_disk(tmp_path, monkeypatch)
    process = run.start_script(FULL)
    wait_until((tmp_path / "ran2").exists, "both stages run")
    beats = Path(run.run.heartbeat)
    before = beats.read_bytes()
    wait_until(lambda: beats.read_bytes() != before, "heartbeats continue")
    (tmp_path / "room").touch()
    process.communicate(timeout=60)
    recorded = [e["event"] for e in run.events()]
    stages = ["stage_started", "stage_ended"] * 2
    assert recorded == ["run_accepted", "run_started", *stages, "warning", "verdict"]
    assert run.verdict["status"] == "succeeded"
    assert run.of("warning")[0]["code"] == "journal_refused"


def test_stop_signal_ends_the_tries_to_write_the_verdict_on_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = full_disk(tmp_path, monkeypatch)
    process = run.start_script(FULL)
    wait_until((tmp_path / "ran2").exists, "both stages run")
    for _ in range(60):  # the first may come before it has a verdict to write
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=1)
            break
    assert process.returncode == 73
    assert not run.of("verdict")


# The system refuses a thread for the heartbeat sys.argv[2] times.
NO_THREAD = """
import sys, _thread
from workers import __main__ as program
from workers.stages import heartbeat_thread
start, left = _thread.start_new_thread, [int(sys.argv[2])]
def refuse(*args):
    if left[0]:
        left[0] -= 1
        raise RuntimeError("can't start new thread")
    return start(*args)
_thread.start_new_thread = refuse
heartbeat_thread.THREAD_DELAY_S = 0.01
sys.exit(program.main(["workers", sys.argv[1]]))
"""


@pytest.mark.fault("M7")
@pytest.mark.parametrize(("refusals", "code"), [(3, 0), (4, 71)])
def test_worker_retries_its_heartbeat_thread_before_anything_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusals: int, code: int
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    run = make(tmp_path, [shell("touch begun")])
    process = run.start_script(NO_THREAD, str(refusals))
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert b"Traceback" not in err
    if code:
        assert b"the limit of processes is reached" in err
        assert not [e for e in run.events() if e["event"] == "run_started"]
    else:
        assert run.verdict["status"] == "succeeded"


# The system refuses a process for a stage sys.argv[2] times.
NO_PROCESS = """
import errno, os, sys
from workers import __main__ as program
from workers.stages import try_runner
spawn, left = os.posix_spawn, [int(sys.argv[2])]
def refuse(*args, **values):
    if left[0]:
        left[0] -= 1
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    return spawn(*args, **values)
os.posix_spawn = refuse
try_runner.START_DELAY_S = 0.01
sys.exit(program.main(["workers", sys.argv[1]]))
"""


@pytest.mark.fault("M7")
@pytest.mark.parametrize(("refusals", "status"), [(3, "succeeded"), (4, "failed")])
def test_stage_whose_process_is_refused_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusals: int, status: str
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    run = make(tmp_path, [shell("true")])
    process = run.start_script(NO_PROCESS, str(refusals))
    process.communicate(timeout=60)
    assert run.verdict["status"] == status
    (ended,) = run.of("stage_ended")
    assert ended["reason"] == (None if status == "succeeded" else "spawn-failed")

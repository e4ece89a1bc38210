import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.root import Root, alive, wait_until
from workers.records.ids import is_run_id

SLOW = '[pipelines.slow]\nstages = [{ id = "sleep", command = "sleep 30" }]\n'


def test_many_simultaneous_runs_without_a_supervisor_all_succeed(
    root: Root,
) -> None:
    processes = [root.popen("run", "--", "true") for _ in range(12)]
    done = [root.finish(process) for process in processes]
    assert [d.code for d in done] == [0] * 12, [d.err for d in done]
    wait_until(lambda: not alive(f"--root\0{root.path}"), "the helper leaves")
    root.check_settled(count=12)


def test_run_prints_the_output_and_exits_with_the_outcome(root: Root) -> None:
    done = root.call("run", "--task", "t", "--", "sh", "-c", "echo out; echo err >&2; exit 3")
    assert done.code == 10
    assert done.out == "out\n"
    assert done.err.startswith("err\n")
    assert "failed (stage:sh:failed)" in done.err


def test_run_json_prints_the_manifest_and_nothing_else(root: Root) -> None:
    done = root.call("run", "--json", "--", "echo", "hidden")
    assert done.json()["manifest"]["status"] == "succeeded"
    assert "hidden" not in done.out.replace('"echo hidden"', "")


def test_int_cancels_only_the_callers_run(root: Root) -> None:
    root.configure(SLOW)
    mine = root.popen("run", "slow")
    other = root.popen("run", "--", "sh", "-c", "while ! test -e go; do sleep 0.05; done")
    wait_until(lambda: len(root.running()) == 2, "both run")
    mine.send_signal(signal.SIGINT)
    assert root.finish(mine).code == 11
    (slow,) = [m["run_id"] for m in root.manifests() if m["pipeline_id"] == "slow"]
    assert not alive(f"SUPERVISED_RUN_ID={slow}")
    root.write("go", "")
    assert root.finish(other).code == 0


def test_every_command_shows_a_submitted_run_as_queued_without_a_supervisor(
    root: Root,
) -> None:
    done = root.call("submit", "--", "true")
    run_id = done.out.strip()
    assert is_run_id(run_id)
    assert done.err == ""
    (row,) = root.call("status", "--json").json()["runs"]
    assert (row["run_id"], row["status"]) == (run_id, "queued")
    assert root.call("show", run_id[-8:], "--json").json()["manifest"]["status"] == "queued"
    assert root.call("logs", run_id).code == 0
    assert root.call("wait", run_id, "--timeout", "0.1").code == 124
    assert root.call("start", "--once").code == 0
    assert root.call("wait", run_id).code == 0
    root.check_settled(count=1)


def test_a_running_supervisor_starts_submitted_runs(root: Root) -> None:
    process = root.serving()
    run_id = root.call("submit", "--task", "t", "--", "sh", "-c", "exit 4").out.strip()
    assert root.call("wait", run_id).code == 10
    assert root.call("run", "--", "true").code == 0
    assert root.call("stop").code == 0
    assert root.finish(process).code == 0
    root.check_settled("t", count=1)


def test_a_temporary_supervisor_does_not_start_submitted_runs(root: Root) -> None:
    waiting = root.call("submit", "--", "true").out.strip()
    assert root.call("run", "--task", "mine", "--", "true").code == 0
    wait_until(lambda: not alive(f"--root\0{root.path}"), "the helper leaves")
    (row,) = [r for r in root.call("status", "--json").json()["runs"] if r["run_id"] == waiting]
    assert row["status"] == "queued"


def test_cancel_ends_a_queued_run_without_a_supervisor(root: Root) -> None:
    run_id = root.call("submit", "--", "true").out.strip()
    done = root.call("cancel", run_id)
    assert (done.code, "cancelled" in done.out) == (0, True)
    (manifest,) = root.manifests()
    assert manifest["status_detail"] == "cancelled-by-user"
    assert root.call("start", "--once").code == 0
    root.check_settled(count=1)


STUBBORN = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(60)
time.sleep(60)
"""


@pytest.mark.fault("P12", "P15")
def test_cancel_returns_when_all_processes_of_the_run_have_exited(root: Root) -> None:
    root.write("stubborn.py", STUBBORN)
    process = root.serving()
    run_id = root.call("submit", "--", "python3", "stubborn.py").out.strip()
    marker = f"SUPERVISED_RUN_ID={run_id}"
    wait_until(lambda: len(alive(marker)) >= 3, "it has forked")
    assert root.call("cancel", run_id).code == 0
    assert not alive(marker)
    assert root.call("cancel", run_id).out.endswith("had ended before\n")
    process.send_signal(signal.SIGTERM)
    root.finish(process)
    root.check_settled(count=1)


def test_stop_leaves_workers_for_the_next_start_to_adopt(root: Root) -> None:
    first = root.serving()
    hold = "echo ran >> ran; while ! test -e go; do sleep 0.05; done"
    run_id = root.call("submit", "--", "sh", "-c", hold).out.strip()
    wait_until((root.path / "ran").exists, "the stage runs")
    assert root.call("stop", "--leave-running").code == 0
    told = root.finish(first)
    assert f"left running: 1 run ({run_id}); 'supervisor start' adopts them" in told.err
    assert "nothing to do" not in told.err
    (row,) = root.call("status", "--json").json()["runs"]
    assert row["status"] == "in_progress"
    workers = alive(f"workers\0{root.path}")
    again = root.popen("start")
    wait_until(lambda: "run_adopted" in [e["event"] for e in root.log()], "adoption")
    assert alive(f"workers\0{root.path}") == workers
    root.write("go", "")
    assert root.call("wait", run_id).code == 0
    again.send_signal(signal.SIGTERM)
    root.finish(again)
    assert (root.path / "ran").read_text() == "ran\n"
    root.check_settled(count=1)


def test_stop_reports_that_no_supervisor_is_running(root: Root) -> None:
    done = root.call("stop")
    assert done.code == 0
    assert "no supervisor serves" in done.err


@pytest.mark.fault("C20", "S6")
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b'{"schema": "x"}',
        b"[" * 5000,
        b'{"a": ' + b"9" * 5000 + b"}",
    ],
)
def test_an_invalid_request_is_rejected_and_blocks_no_other(root: Root, content: bytes) -> None:
    inbox = Path(root.layout.inbox)
    inbox.mkdir(parents=True)
    (inbox / "0000.json").write_bytes(content)
    (inbox / "0001.json").symlink_to("/etc/passwd")
    (inbox / "0002.json").mkdir()
    root.call("submit", "--", "true")
    assert root.call("start", "--once").code == 0
    assert root.state()["totals"]["runs"] == 1
    assert sorted(p.name for p in Path(root.layout.rejected).iterdir()) == [
        "0000.json",
        "0001.json",
        "0002.json",
    ]


@pytest.mark.fault("C20")
def test_a_duplicate_request_starts_one_run(root: Root) -> None:
    root.call("submit", "--", "true")
    (request,) = Path(root.layout.inbox).iterdir()
    content = request.read_bytes()
    assert root.call("start", "--once").code == 0
    request.write_bytes(content)
    assert root.call("start", "--once").code == 0
    root.check_settled(count=1)


def test_a_run_is_found_by_prefix_suffix_or_latest(root: Root) -> None:
    ids = [root.call("submit", "--", "true").out.strip() for _ in range(2)]
    for name in (ids[1], ids[1][-8:], "latest"):
        shown = root.call("show", name, "--json").json()
        assert shown["manifest"]["run_id"] == ids[1]
    ambiguous = root.call("show", "20")
    assert ambiguous.code == 2
    assert all(run_id in ambiguous.err for run_id in ids)
    assert root.call("show", "nosuch").code == 4
    assert root.call("status", "nosuch").code == 4


@pytest.mark.fault("P21")
def test_status_into_a_closed_pipe_prints_no_traceback(root: Root) -> None:
    root.call("submit", "--", "true")
    process = root.popen("status")
    assert process.stdout is not None
    process.stdout.close()
    process.wait()
    assert process.stderr is not None
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()
    process.stdout = process.stderr = subprocess.PIPE  # type: ignore[assignment]
    root.started.remove(process)


@pytest.mark.fault("P20")
@pytest.mark.parametrize("closed", [">&-", "<&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_do_no_harm(root: Root, closed: str) -> None:
    script = f'exec "{sys.executable}" -m supervisor run -- sh -c "echo x; echo y >&2" {closed}'
    done = subprocess.run(["/bin/sh", "-c", script], cwd=root.path, timeout=60)
    assert done.returncode == 0
    (manifest,) = root.manifests()
    assert manifest["status"] == "succeeded"
    log = root.path / manifest["commands"][0]["log_path"]
    assert log.read_text() == "x\n"


@pytest.mark.fault("P21")
def test_a_run_whose_reader_goes_away_ends_as_a_pipe_does_and_the_run_goes_on(
    root: Root,
) -> None:
    script = f'"{sys.executable}" -m supervisor run -- sh -c "yes | head -c 9000000" | head -c 9; '
    done = subprocess.run(
        ["/bin/bash", "-c", script + "echo ${PIPESTATUS[0]}"],
        cwd=root.path,
        timeout=60,
        capture_output=True,
    )
    assert done.stdout.endswith((b"141\n", b"0\n")), "141 where it had more to say"
    assert b"Traceback" not in done.stderr
    wait_until(lambda: [m["status"] for m in root.manifests()] == ["succeeded"], "it goes on")


def test_a_waiting_run_survives_its_temporary_supervisor(root: Root) -> None:
    script = "touch begun; while ! test -e go; do sleep 0.05; done"
    waiting = root.popen("run", "--", "sh", "-c", script)
    wait_until((root.path / "begun").exists, "the stage runs")
    (helper,) = [
        pid
        for pid in alive(f"--root\0{root.path}")
        if b"--lease-fd" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    os.kill(helper, signal.SIGKILL)
    root.write("go", "")
    assert root.finish(waiting).code == 0
    wait_until(lambda: not os.listdir(root.layout.accepted), "it is settled")
    root.check_settled(count=1)


def test_cancelling_a_parent_cancels_its_child(root: Root) -> None:
    root.configure(
        '[pipelines.kid]\nstages = [{ id = "s", command = "sleep 60" }]\n'
        '[pipelines.parent]\nstages = [{ id = "k", pipeline = "kid" }]\n'
    )
    process = root.popen("start", "--once", "parent")
    wait_until(root.stages, "the child's stage runs")
    parent = next(m["run_id"] for m in root.manifests() if m["pipeline_id"] == "parent")
    assert root.call("cancel", parent).code == 0
    assert not root.stages()
    assert root.finish(process).code == 11
    assert {m["status"] for m in root.manifests()} == {"cancelled"}
    root.check_settled(count=2)


def test_logs_follow_a_run_to_its_end(root: Root) -> None:
    root.serving()
    script = "echo one; while ! test -e go; do sleep 0.05; done; echo two"
    run_id = root.call("submit", "--", "sh", "-c", script).out.strip()
    log = root.path / f".runs/default/cli/{run_id}/commands/01-sh.stdout.log"
    wait_until(lambda: log.exists() and log.read_text() == "one\n", "the log is live")
    follower = root.popen("logs", "-f", run_id)
    root.write("go", "")
    done = root.finish(follower)
    assert (done.code, done.out) == (0, "one\ntwo\n")
    assert json.loads(root.call("show", run_id, "--json").out)["manifest"]["run_id"] == run_id

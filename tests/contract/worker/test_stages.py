import os
import signal
import stat
import sys
from pathlib import Path

import pytest

from supervisor.report.read.follow_run import RunFollower
from supervisor.store.run_file_sizes import measure_files
from tests.contract.worker.work import SPAWN_IGNORES, make, shell, work
from tests.examples import stage
from tests.root import alive, wait_until
from workers.records.layout import layout_of_run
from workers.records.limits import Limits
from workers.records.spec import RetrySpec

REPOSITORY = Path(__file__).parents[3]


def test_stages_run_in_order_and_each_fact_is_in_the_journal(tmp_path: Path) -> None:
    run = work(tmp_path, shell("echo 1", "one"), stage("two", command=("echo", "2")))
    assert run.code == 0
    assert [e["event"] for e in run.events()] == [
        "run_accepted",
        "run_started",
        "stage_started",
        "stage_ended",
        "stage_started",
        "stage_ended",
        "verdict",
    ]
    assert [e["seq"] for e in run.events()] == list(range(1, 8))
    assert run.verdict["status"] == "succeeded"
    assert run.verdict["heartbeat"]["ok"] >= 1
    assert (run.log(1, "one"), run.log(2, "two")) == (b"1\n", b"2\n")


def test_cwd_and_env_come_from_supervisor_pipeline_and_stage_in_that_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sub").mkdir()
    for name in "ABC":
        monkeypatch.setenv(name, "outside")
    run = work(
        tmp_path,
        shell("pwd; echo $A $B $C", cwd="sub", env=(("C", "stage"),)),
        env=(("B", "pipeline"), ("C", "pipeline")),
    )
    assert run.log(1, "s").decode() == f"{tmp_path}/sub\noutside pipeline stage\n"


def test_nice_applies_to_its_stage_only(tmp_path: Path) -> None:
    stages = (shell("nice", "one"), shell("nice; (nice)", "two", nice=3), shell("nice", "three"))
    run = work(tmp_path, *stages)
    assert run.verdict["status"] == "succeeded"
    ours, raised = os.nice(0), min(os.nice(0) + 3, 19)
    logs = [run.log(index, name) for index, name in enumerate(("one", "two", "three"), 1)]
    assert [log.decode().split() for log in logs] == [[str(ours)], [str(raised)] * 2, [str(ours)]]


def test_failure_stops_the_run_and_leaves_the_rest_pending(tmp_path: Path) -> None:
    run = work(tmp_path, shell("exit 3", "bad"), shell("touch ran", "next"))
    assert (run.verdict["status"], run.verdict["detail"]) == ("failed", "stage:bad:failed")
    assert not (tmp_path / "ran").exists()
    assert run.error(1, "bad")["details"]["exit_code"] == 3


def test_failed_optional_stage_is_skipped_and_the_run_continues(tmp_path: Path) -> None:
    run = work(tmp_path, shell("exit 3", "bad", allow_failure=True), shell("true", "next"))
    assert run.verdict["status"] == "succeeded"
    assert [e["status"] for e in run.of("stage_ended")] == ["skipped", "succeeded"]
    assert run.error(1, "bad")["reason"] == "command-failed"


def test_other_exit_codes_may_mean_success(tmp_path: Path) -> None:
    run = work(tmp_path, shell("exit 3", success_exit_codes=(0, 3)))
    assert run.verdict["status"] == "succeeded"


@pytest.mark.fault("P22", "P24")
@pytest.mark.parametrize(("name", "core"), [("SEGV", True), ("KILL", False), ("TERM", False)])
def test_stage_ended_by_a_signal_is_failed_and_the_signal_is_named(
    tmp_path: Path, name: str, core: bool
) -> None:
    del core
    run = work(tmp_path, shell(f"kill -{name} $$"))
    (ended,) = run.of("stage_ended")
    assert (ended["exit_code"], ended["signal"]) == (None, f"SIG{name}")
    assert run.error(1, "s")["details"]["signal"] == f"SIG{name}"
    assert f"SIG{name}" in ended["summary"]


@pytest.mark.fault("P24")
def test_exit_code_128_plus_n_of_a_shell_stays_an_exit_code(tmp_path: Path) -> None:
    run = work(tmp_path, shell("sh -c 'kill -SEGV $$'; exit $?"))
    (ended,) = run.of("stage_ended")
    assert (ended["exit_code"], ended["signal"]) == (139, None)


@pytest.mark.fault("C12", "C13", "C14")
@pytest.mark.parametrize(
    ("command", "values", "reason"),
    [
        (("no-such-program",), {}, "command-not-found"),
        (("./plain",), {}, "not-executable"),
        (("./shebang",), {}, "not-executable"),
        (("./folder",), {}, "not-executable"),
        (("true",), {"cwd": "nowhere"}, "bad-cwd"),
        (("true",), {"cwd": "plain"}, "bad-cwd"),
        (("true", "x" * 3_000_000), {}, "argument-list-too-long"),
    ],
)
def test_reasons_for_not_starting_a_stage_are_distinct(
    tmp_path: Path, command: tuple[str, ...], values: dict[str, str], reason: str
) -> None:
    (tmp_path / "plain").write_text("text")
    (tmp_path / "shebang").write_text("#!/no/such/interpreter\n")
    (tmp_path / "shebang").chmod(stat.S_IRWXU)
    (tmp_path / "folder").mkdir()
    run = work(tmp_path, stage("s", command=command, **values))
    (ended,) = run.of("stage_ended")
    assert (ended["reason"], ended["exit_code"]) == (reason, None)
    assert run.verdict["detail"] == "stage:s:error"
    assert run.error(1, "s")["reason"] == reason


def test_timed_out_stage_is_terminated_and_named(tmp_path: Path) -> None:
    run = work(tmp_path, shell("echo begun; sleep 60", timeout_s=0.2))
    assert run.verdict["detail"] == "stage:s:timed-out"
    assert run.log(1, "s") == b"begun\n"
    assert not alive(f"SUPERVISED_ROOT={tmp_path}")


def test_timed_out_pipeline_differs_from_a_timed_out_stage(tmp_path: Path) -> None:
    run = work(tmp_path, shell("sleep 60", timeout_s=50.0), timeout_s=0.3)
    assert (run.verdict["status"], run.verdict["detail"]) == ("failed", "timed-out")


@pytest.mark.fault("P15")
def test_stage_that_ignores_sigterm_is_killed_after_the_grace(tmp_path: Path) -> None:
    run = work(tmp_path, shell("trap '' TERM HUP INT; while :; do sleep 1; done", timeout_s=0.2))
    assert run.verdict["detail"] == "stage:s:timed-out"
    assert run.of("stage_ended")[0]["signal"] == "SIGKILL"
    assert not alive(f"SUPERVISED_ROOT={tmp_path}")


@pytest.mark.fault("P29")
def test_stopped_stage_is_still_ended(tmp_path: Path) -> None:
    run = work(tmp_path, shell("kill -STOP $$", timeout_s=0.2))
    assert run.verdict["detail"] == "stage:s:timed-out"


def test_failed_try_is_retried_and_its_logs_are_kept(tmp_path: Path) -> None:
    script = "echo try $SUPERVISED_TRY; test $SUPERVISED_TRY = 3"
    retries = RetrySpec(attempts=5, delay_s=0.01, factor=1.0)
    run = work(tmp_path, shell(script, retries=retries))
    assert run.verdict["status"] == "succeeded"
    assert [e["try"] for e in run.of("stage_retried")] == [1, 2]
    assert run.of("stage_ended")[0]["try"] == 3
    logs = Path(run.run.commands)
    for number in (1, 2):
        assert (logs / f"01-s.try-{number}.stdout.log").read_text() == f"try {number}\n"
    assert run.log(1, "s") == b"try 3\n"


@pytest.mark.fault("V4")
def test_all_tries_of_a_stage_share_the_limit_of_its_streams(tmp_path: Path) -> None:
    """The newest tries are kept: the last one, and before it as many as fit in the other half."""
    script = (
        "head -c $((SUPERVISED_TRY * 10000)) /dev/zero | tr '\\0' x; "
        "echo try $SUPERVISED_TRY >&2; exit 1"
    )
    run = work(tmp_path, shell(script, retries=RetrySpec(attempts=6, delay_s=0.0)))
    limit_bytes = Limits().stream_limit_bytes
    logs = Path(run.run.commands)
    sizes = {path.name: path.stat().st_size for path in logs.glob("*.stdout.log")}
    assert sum(sizes.values()) <= limit_bytes
    assert sorted(sizes) == ["01-s.stdout.log", "01-s.try-5.stdout.log"]
    assert run.log(1, "s").endswith(b"x" * 1000)
    assert len(list(logs.glob("*.try-*.stderr.log"))) == 5, "small ones are all kept"
    measured = measure_files(run.run, {"commands": []})
    assert measured["largestStreamBytes"] == sum(sizes.values())


@pytest.mark.fault("V4")
def test_followers_report_missing_bytes_of_removed_tries(tmp_path: Path) -> None:
    script = "head -c 70000 /dev/zero | tr '\\0' $SUPERVISED_TRY; exit 1"
    run = work(tmp_path, shell(script, retries=RetrySpec(attempts=3, delay_s=0.0)))
    head_bytes = Limits().stream_limit_bytes // 2
    follower = RunFollower(
        layout_of_run(run.run), Path(run.run.path).parts[-3], run.run.run_id, head_bytes=head_bytes
    )
    pieces = list(follower.read_new())
    assert sum(len(piece.data) + piece.missing_bytes for piece in pieces) == 3 * 70_000
    assert {piece.data[:1] for piece in pieces if piece.data} == {b"2", b"3"}


def test_only_the_named_exit_codes_are_retried(tmp_path: Path) -> None:
    retries = RetrySpec(attempts=3, delay_s=0.01, on_exit_codes=(75,))
    assert not work(tmp_path / "a", shell("exit 1", retries=retries)).of("stage_retried")
    assert len(work(tmp_path / "b", shell("exit 75", retries=retries)).of("stage_retried")) == 2


def _daemon(code: str) -> str:
    return f'python3 -c "{code}"'


ESCAPES = {
    "background": "sleep 60 & exit 0",
    "setsid": "setsid sleep 60 & exit 0",
    "no_term": "(trap '' TERM; sleep 60; sleep 60) & exit 0",
    "clean_env": "env -i setsid sleep 60 & exit 0",
    "double_fork": _daemon(
        "import os,time; os.fork() and os._exit(0); os.setsid(); os.fork() and os._exit(0); "
        "time.sleep(60)"
    ),
    "re_exec": _daemon(
        "import os; os.fork() and os._exit(0); os.setsid(); os.fork() and os._exit(0); "
        "os.execve('/bin/sleep', ['another-name', '60'], {})"
    ),
    "first_thread_gone": _daemon(
        "import ctypes,threading,time; threading.Thread(target=time.sleep,args=[60]).start(); "
        "ctypes.CDLL(None).syscall(60,0)"
    )
    + " & until grep -q '^State:.Z' /proc/$!/status; do :; done",
    "closed_fds": _daemon(
        "import os,time; os.fork() and os._exit(0); os.setsid(); os.closerange(0,256); "
        "time.sleep(60)"
    ),
}


@pytest.mark.fault("P12", "P13")
@pytest.mark.parametrize("kind", ESCAPES)
def test_nothing_of_a_stage_is_alive_when_the_next_begins(tmp_path: Path, kind: str) -> None:
    count = "cat /proc/[0-9]*/stat 2>/dev/null | awk -v w=$PPID '$4 == w' | wc -l"
    run = work(tmp_path, shell(ESCAPES[kind], "escapes"), shell(count, "next"))
    first, second = run.of("stage_ended")
    assert (first["status"], first["leftover_count"] >= 1) == ("succeeded", True)
    assert first["duration_s"] < 10
    assert second["leftover_count"] == 0
    assert int(run.log(2, "next")) == 1, "the worker has one child: this very stage"
    assert run.verdict["leftover_pids"] == []


@pytest.mark.fault("P23")
def test_grandchild_that_holds_the_pipe_does_not_delay_the_run(tmp_path: Path) -> None:
    run = work(tmp_path, shell("(trap '' TERM; sleep 60; sleep 60) & echo x"))
    assert run.log(1, "s") == b"x\n"
    assert run.of("stage_ended")[0]["duration_s"] < 10


def test_sigterm_cancels_with_the_detail_of_the_cancel_file(tmp_path: Path) -> None:
    run = make(tmp_path, [shell("touch begun; sleep 60", "a"), shell("true", "b")])
    process = run.start()
    wait_until((tmp_path / "begun").exists, "the stage runs")
    Path(run.run.cancel).write_text('{"detail": "cancelled-by-user"}')
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert (run.verdict["status"], run.verdict["detail"]) == ("cancelled", "cancelled-by-user")
    assert run.of("stage_ended")[0]["reason"] == "cancelled"
    assert len(run.of("stage_started")) == 1
    assert not alive(f"SUPERVISED_ROOT={tmp_path}")


@pytest.mark.parametrize("content", [None, "", "[]", "{", '{"detail": 5}'])
def test_sigterm_without_a_readable_cancel_file_means_stopped(
    tmp_path: Path, content: str | None
) -> None:
    run = make(tmp_path, [shell("touch begun; sleep 60")])
    process = run.start()
    wait_until((tmp_path / "begun").exists, "the stage runs")
    if content is not None:
        Path(run.run.cancel).write_text(content)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert (run.verdict["status"], run.verdict["detail"]) == ("cancelled", "stopped")


def test_cancel_file_alone_is_seen_at_the_next_heartbeat(tmp_path: Path) -> None:
    run = make(tmp_path, [shell("touch begun; sleep 60")])
    process = run.start()
    wait_until((tmp_path / "begun").exists, "the stage runs")
    Path(run.run.cancel).write_text('{"detail": "cancelled-by-user"}')
    process.communicate(timeout=60)
    assert run.verdict["detail"] == "cancelled-by-user"


def test_second_worker_of_a_run_does_nothing(tmp_path: Path) -> None:
    run = make(tmp_path, [shell("echo x >> ran; while ! test -e go; do sleep 0.05; done")])
    first = run.start()
    wait_until((tmp_path / "ran").exists, "the stage runs")
    second = run.start()
    _, err = second.communicate(timeout=60)
    assert second.returncode == 75
    assert b"another process holds" in err
    (tmp_path / "go").touch()
    first.communicate(timeout=60)
    third = run.start()
    third.communicate(timeout=60)
    assert third.returncode == 0
    assert (tmp_path / "ran").read_text() == "x\n"
    assert run.verdict["status"] == "succeeded"


@pytest.mark.fault("P19")
def test_ignored_and_blocked_signals_are_not_inherited_by_stages(tmp_path: Path) -> None:
    run = make(tmp_path, [shell("grep -E 'Sig(Blk|Ign)' /proc/self/status")])
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    try:
        process = run.start()
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR1])
    process.communicate(timeout=60)
    for line in run.log(1, "s").decode().splitlines():
        assert int(line.split()[1], 16) & ~SPAWN_IGNORES == 0, line


@pytest.mark.fault("P27")
def test_stage_has_only_its_three_descriptors(tmp_path: Path) -> None:
    run = work(tmp_path, shell("ls /proc/$$/fd"))
    assert run.log(1, "s").split() == [b"0", b"1", b"2"]


def test_bad_usage_creates_nothing(tmp_path: Path) -> None:
    from tests.contract.worker.work import Run
    from workers.records.layout import RunDir

    run = Run(tmp_path, RunDir(str(tmp_path / "none")))
    process = run.start()
    process.communicate(timeout=60)
    assert process.returncode == 2
    assert os.listdir(tmp_path) == []


def test_worker_started_by_posix_spawn_works(tmp_path: Path) -> None:
    run = make(tmp_path, [shell("true")])  # ignores two signals that glibc reserves
    argv = [sys.executable, "-m", "workers", run.run.path]
    pid = os.posix_spawn(sys.executable, argv, {**os.environ, "PYTHONPATH": str(REPOSITORY)})
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert run.verdict["status"] == "succeeded"


def test_between_two_tries_the_stage_still_has_the_logs_of_the_first(tmp_path: Path) -> None:
    retries = RetrySpec(attempts=2, delay_s=60.0, factor=1.0, max_delay_s=60.0)
    run = make(tmp_path, [stage("s", command="echo one; exit 1", retries=retries)])
    process = run.start()
    kept = Path(run.run.stage_log(1, "s", "stderr", earlier_try=1))
    wait_until(kept.exists, "the first try is over")
    assert run.log(1, "s") == b"one\n"
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert run.log(1, "s") == b"one\n"
    assert run.verdict["status"] == "cancelled"

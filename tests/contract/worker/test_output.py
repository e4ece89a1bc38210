import json
import re
from pathlib import Path

import pytest

from tests.contract.worker.work import make, shell, work
from tests.examples import stage
from tests.root import wait_until
from workers.records.limits import Limits

GAP = re.compile(rb"\[supervisor: (\d+) bytes dropped #[0-9a-f]{8}\]\n")


@pytest.mark.fault("V5")
def test_both_ends_of_a_flood_are_kept_and_it_is_counted_exactly(tmp_path: Path) -> None:
    run = work(tmp_path, shell("seq 1 1000000"))
    whole = b"".join(b"%d\n" % n for n in range(1, 1_000_001))
    log = run.log(1, "s")
    assert len(log) <= 65_536
    gap = GAP.search(log)
    assert gap is not None
    head, tail = log[: gap.start()], log[gap.end() :]
    assert whole.startswith(head.rstrip(b"\n"))
    assert whole.endswith(tail)
    (ended,) = run.of("stage_ended")
    assert ended["stdout"]["seen_bytes"] == len(whole)
    assert ended["stdout"]["kept_bytes"] + int(gap[1]) == len(whole)


@pytest.mark.fault("V5", "V6")
@pytest.mark.parametrize(
    "command",
    [
        "head -c 3000000 /dev/zero | tr '\\0' x",
        "head -c 3000000 /dev/urandom",
        "head -c 65536 /dev/zero",
        "head -c 65537 /dev/zero",
        "printf ''",
    ],
)
def test_endless_line_noise_and_silence_stay_within_64_kib(tmp_path: Path, command: str) -> None:
    run = work(tmp_path, shell(f"{command}; {command} >&2"))
    for stream in ("stdout", "stderr"):
        log = run.log(1, "s", stream)
        counts = run.of("stage_ended")[0][stream]
        gap = GAP.search(log)
        dropped = int(gap[1]) if gap else 0
        assert len(log) <= 65_536
        assert counts["kept_bytes"] + dropped == counts["seen_bytes"]


@pytest.mark.fault("V4", "V5")
@pytest.mark.parametrize(
    "command",
    [
        "yes | head -c 50000000",
        pytest.param("yes | head -c 1073741824", marks=pytest.mark.slow),
        pytest.param("head -c 1073741824 /dev/zero | tr '\\0' x", marks=pytest.mark.slow),
        pytest.param("head -c 200000000 /dev/urandom", marks=pytest.mark.slow),
    ],
)
def test_gigabyte_of_output_does_not_grow_the_worker(tmp_path: Path, command: str) -> None:
    peak = r"grep -h VmHWM /proc/$PPID/status | tr -dc 0-9; echo"
    run = work(tmp_path, shell(peak, "before"), shell(command, "flood"), shell(peak, "after"))
    growth_kib = int(run.log(3, "after")) - int(run.log(1, "before"))
    assert growth_kib < 8 * 1024
    assert len(run.log(2, "flood")) <= 65_536


def test_log_of_a_running_stage_is_at_most_one_heartbeat_behind(tmp_path: Path) -> None:
    script = "seq 1 50000; echo marker; while ! test -e go; do sleep 0.05; done"
    run = make(tmp_path, [shell(script)])
    process = run.start()
    log = Path(run.run.stage_log(1, "s", "stdout"))
    wait_until(lambda: log.exists() and log.read_bytes().endswith(b"marker\n"), "the end shows")
    assert len(log.read_bytes()) <= 65_536
    (tmp_path / "go").touch()
    process.communicate(timeout=60)


@pytest.mark.fault("V6", "V8")
@pytest.mark.parametrize(
    "script",
    [
        "printf '\\001\\033[31m%0.s' $(seq 5000) >&2; echo last >&2",
        "printf '\\360\\237\\230\\200%0.s' $(seq 9000) >&2; echo last >&2",
        "head -c 100000 /dev/zero | tr '\\0' y >&2; printf last >&2",
        "head -c 100000 /dev/urandom >&2; echo; echo last >&2",
        "seq 1 100000; printf 'last' >&2",
    ],
)
def test_hostile_output_gives_a_small_error_file_with_the_last_line(
    tmp_path: Path, script: str
) -> None:
    run = work(tmp_path, shell(f"{script}; exit 1"))
    details = run.error(1, "s")["details"]
    assert details["stderr"].rstrip("\n").endswith("last")
    for stream in ("stdout", "stderr"):
        assert len(details[stream].encode()) <= 8_192


def test_silent_failure_still_has_an_error_file(tmp_path: Path) -> None:
    run = work(tmp_path, shell("exit 1"))
    details = run.error(1, "s")["details"]
    assert (details["stdout"], details["stderr"], details["stderr_dropped_bytes"]) == ("", "", 0)


@pytest.mark.fault("S1")
def test_no_record_contains_a_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "canary-4711-canary")
    script = "echo a$SECRET; printf canary-47; sleep 0.2; echo 11-canary; echo $SECRET >&2; exit 1"
    run = work(tmp_path, shell(script))
    for path in Path(run.run.path).rglob("*"):
        if path.is_file():
            assert b"canary-4711-canary" not in path.read_bytes(), path
    assert run.log(1, "s") == b"a***\n***\n"
    assert run.error(1, "s")["details"]["stderr"] == "***\n"


def test_heartbeats_continue_while_a_stage_runs(tmp_path: Path) -> None:
    limits = Limits(heartbeat_interval_s=0.05, grace_s=0.5)
    run = work(tmp_path, shell("sleep 1"), limits=limits)
    beats = Path(run.run.heartbeat).read_text().splitlines()
    assert len(beats) >= 5
    assert beats == sorted(beats)
    assert run.verdict["heartbeat"]["failed"] == 0
    assert run.verdict["heartbeat"]["ok"] == len(beats)


def test_log_that_cannot_be_written_causes_a_warning_and_stops_nothing(tmp_path: Path) -> None:
    block = 'mkdir "$SUPERVISED_RUN_DIR/commands/02-b.stdout.log"'
    run = make(tmp_path, [shell(block), shell("echo hello; exit 0", "b")])
    process = run.start()
    process.communicate(timeout=60)
    assert run.verdict["status"] == "succeeded"
    (warning,) = run.of("warning")
    assert warning["code"] == "log_incomplete"
    assert json.dumps(run.verdict)


@pytest.mark.fault("S1")
def test_secrets_in_a_command_line_are_hidden_in_its_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "canary-4711-canary")
    run = work(tmp_path, stage("s", command=("./canary-4711-canary", "--key=canary-4711-canary")))
    assert run.error(1, "s")["command"] == "./*** --key=***"
    assert run.of("stage_ended")[0]["summary"] == "./***: command not found"
    assert "canary" not in Path(run.run.journal).read_text()


def test_command_that_no_system_call_accepts_fails_only_its_stage(tmp_path: Path) -> None:
    run = make(tmp_path, [stage("s", command="echo \0", allow_failure=True), shell("true", "b")])
    run.start().communicate(timeout=60)
    assert run.verdict["status"] == "succeeded"
    assert run.of("stage_ended")[0]["reason"] == "spawn-failed"


BROKEN = """
import os, sys
from workers import __main__ as program
from workers.stages import try_runner
def broken(self):
    raise OSError("cannot use " + os.environ["SECRET"] * 40)
try_runner.TryRunner.run = broken
sys.exit(program.main(["workers", sys.argv[1]]))
"""


@pytest.mark.fault("S1")
def test_secret_in_an_error_of_the_worker_is_hidden_before_the_summary_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "canary-4711-canary")
    run = make(tmp_path, [shell("true")])
    run.start_script(BROKEN).communicate(timeout=60)
    assert run.verdict["reason"].startswith("the worker failed: OSError: cannot use ******")
    found = [path for path in run.root.rglob("*") if path.is_file() and has_canary(path)]
    assert not found


def has_canary(path: Path) -> bool:
    return b"canary-4" in path.read_bytes()

"""The suite finds no breach, and every one of its checks can fail."""
# ruff: noqa: ANN401, D102, D103 - a test's name is its docstring, as in tests/

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from stress.evidence import gather
from stress.judge import Judgement, judge
from stress.outside import Outside, lease_is_free, processes_of, tracebacks_in
from stress.row import equal_row
from stress.scenario import SCENARIOS, TASK, Plan, make_plan
from workers.records.layout import Layout

CHECKOUT = Path(__file__).parents[1]
RUNS = 12
SEED = 7


def run_harness(
    directory: Path, *argv: str, within_s: float = 110
) -> "subprocess.CompletedProcess[str]":
    """Run ``python -m stress`` with its roots in a directory of the test."""
    return subprocess.run(
        [sys.executable, "-m", "stress", *argv],
        cwd=CHECKOUT,
        env={**os.environ, "TMPDIR": str(directory)},
        capture_output=True,
        text=True,
        timeout=within_s,
        check=False,
    )


@dataclass(frozen=True)
class Copy:
    """A copy of the root of a real round, in which a test breaks something."""

    path: Path
    plan: Plan

    @property
    def layout(self) -> Layout:
        return Layout(str(self.path))

    def judge(self, outside: Outside | None = None) -> Judgement:
        seen = outside or Outside(exit_code=self.plan.exit_code)
        evidence = gather(self.layout, TASK)
        return judge(self.plan, evidence, [seen], lease_free=lease_is_free(self.layout))

    def run_dir(self, pipeline_id: str) -> Path:
        """The directory of one run of a pipeline."""
        for line in self.lines(self.layout.history(TASK)):
            if line["pipelineId"] == pipeline_id:
                return self.path / os.path.dirname(str(line["manifest"]))
        raise AssertionError(pipeline_id)

    def lines(self, path: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in Path(path).read_text().splitlines()]

    def write_lines(self, path: str, lines: list[dict[str, Any]]) -> None:
        Path(path).write_text("".join(json.dumps(line) + "\n" for line in lines))

    def change(self, path: str | Path, change: Callable[[dict[str, Any]], object]) -> None:
        """Change one JSON file and keep its mode."""
        record = json.loads(Path(path).read_text())
        change(record)
        Path(path).write_text(json.dumps(record, indent=2) + "\n")

    def add(self, name: str | Path, data: bytes) -> None:
        """Add a file with the mode that the supervisor uses."""
        path = self.path / name
        path.write_bytes(data)
        path.chmod(0o600)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of a real standard round, which breached nothing."""
    directory = tmp_path_factory.mktemp("stress")
    argv = ("--runs", str(RUNS), "--seed", str(SEED), "--beat", "0.1", "--json", "--keep")
    done = run_harness(directory, *argv)
    assert done.returncode == 0, done.stdout + done.stderr
    reported = json.loads(done.stdout)
    assert reported["schema"] == "pipeline-supervisor/stress/1"
    assert (reported["seed"], reported["runs"], reported["rounds"], reported["breaches"]) == (
        SEED,
        RUNS,
        1,
        [],
    )
    assert f"kept: {reported['kept']}" in done.stderr
    return Path(reported["kept"]) / "root"


@pytest.fixture
def copy(original: Path, tmp_path: Path) -> Copy:
    path = tmp_path / "root"
    shutil.copytree(original, path)
    return Copy(path, make_plan("standard", RUNS, SEED))


def test_an_untouched_copy_is_not_breached(copy: Copy) -> None:
    assert copy.judge().breaches == ()


Fault = Callable[[Copy], object]


def drop_from_state(copy: Copy) -> None:
    copy.change(copy.layout.state(TASK), lambda state: state["runs"].pop(3))


def drop_the_newest_from_state(copy: Copy) -> None:
    def behind(state: dict[str, Any]) -> None:
        line = state["runs"].pop()
        state["totals"]["runs"] -= 1
        state["totals"][line["status"]] -= 1

    copy.change(copy.layout.state(TASK), behind)


def duplicate_in_state(copy: Copy) -> None:
    copy.change(copy.layout.state(TASK), lambda state: state["runs"].append(state["runs"][-1]))


def remove_state(copy: Copy) -> None:
    os.unlink(copy.layout.state(TASK))


def duplicate_in_history(copy: Copy) -> None:
    path = copy.layout.history(TASK)
    lines = copy.lines(path)
    copy.write_lines(path, [*lines, lines[0]])


def drop_from_history(copy: Copy) -> None:
    path = copy.layout.history(TASK)
    copy.write_lines(path, copy.lines(path)[1:])


def another_status_in_history(copy: Copy) -> None:
    path = copy.layout.history(TASK)
    lines = copy.lines(path)
    lines[-1]["status"] = "cancelled"
    copy.write_lines(path, lines)


def oversize_log(copy: Copy) -> None:
    name = copy.run_dir("chatty") / "commands/09-more.stdout.log"
    copy.add(name, b"x" * 65_537)


def shrunk_log(copy: Copy) -> None:
    for path in (copy.run_dir("chatty") / "commands").iterdir():
        path.write_bytes(b"")
    for path in (copy.run_dir("failing") / "commands").iterdir():
        path.write_bytes(b"")


def oversize_error_file(copy: Copy) -> None:
    path = copy.run_dir("failing") / "errors/02-fails.json"
    copy.change(path, lambda error: error.update(command="x" * 10_000))


def oversize_error_detail(copy: Copy) -> None:
    path = copy.run_dir("failing") / "errors/02-fails.json"
    copy.change(path, lambda error: error["details"].update(stderr="y" * 8_193))


def missing_error_file(copy: Copy) -> None:
    (copy.run_dir("failing") / "errors/02-fails.json").unlink()


def temporary_file(copy: Copy) -> None:
    copy.add(f"out/{TASK}/.state.json.4711-1.tmp", b"{}")


def marker(copy: Copy) -> None:
    copy.add(os.path.join(".runs/.supervisor/accepted", copy.run_dir("chatty").name), b"")


def request_in_the_inbox(copy: Copy) -> None:
    copy.add(".runs/.supervisor/inbox/a.json", b"{}\n")


def garbage_record(copy: Copy) -> None:
    copy.add(f".runs/{TASK}/more.json", b'{"half": ')


def garbage_state(copy: Copy) -> None:
    Path(copy.layout.state(TASK)).write_text("[]\n")


def torn_journal(copy: Copy) -> None:
    with (copy.run_dir("chatty") / "journal.ndjson").open("ab") as file:
        file.write(b'{"seq": 99')


def garbage_beat(copy: Copy) -> None:
    with (copy.run_dir("chatty") / ".heartbeat").open("ab") as file:
        file.write(b"\0\0\0\n")


def lost_beat(copy: Copy) -> None:
    (copy.run_dir("chatty") / ".heartbeat").write_bytes(b"")


def silence(copy: Copy) -> None:
    path = copy.run_dir("chatty") / ".heartbeat"
    path.write_text("2026-01-01T00:00:00.000Z\n2026-01-01T00:00:31.000Z\n")


def no_verdict(copy: Copy) -> None:
    path = str(copy.run_dir("chatty") / "journal.ndjson")
    copy.write_lines(path, [f for f in copy.lines(path) if f["event"] != "verdict"])


def in_the_verdict(**values: Any) -> Fault:
    def fault(copy: Copy) -> None:
        path = str(copy.run_dir("chatty") / "journal.ndjson")
        *facts, verdict = copy.lines(path)
        assert verdict["event"] == "verdict"
        copy.write_lines(path, [*facts, verdict | values])

    return fault


def two_verdicts(copy: Copy) -> None:
    path = str(copy.run_dir("chatty") / "journal.ndjson")
    lines = copy.lines(path)
    copy.write_lines(path, [*lines, lines[-1] | {"seq": len(lines) + 1}])


def in_the_manifest(pipeline_id: str, change: Callable[[dict[str, Any]], object]) -> Fault:
    return lambda copy: copy.change(copy.run_dir(pipeline_id) / "manifest.json", change)


def in_the_metrics(part: str, **values: float) -> Fault:
    return lambda copy: copy.change(
        copy.layout.metrics(TASK), lambda metrics: metrics[part].update(values)
    )


def remove_metrics(copy: Copy) -> None:
    os.unlink(copy.layout.metrics(TASK))


def remove_run(copy: Copy) -> None:
    shutil.rmtree(copy.run_dir("chatty"))


def open_to_others(copy: Copy) -> None:
    os.chmod(copy.layout.history(TASK), 0o644)


def drop_from_log(word: str) -> Fault:
    def fault(copy: Copy) -> None:
        lines = copy.lines(copy.layout.log)
        copy.write_lines(copy.layout.log, [line for line in lines if line["event"] != word])

    return fault


def broken(name: str) -> Callable[[dict[str, Any]], object]:
    return lambda metrics: metrics["guardrails"][0].update(name=name, breached=True)


MANIFESTS = "every manifest is terminal and says what the journal says"
OUTCOMES = "every run ended as designed"
STATE = "the state is the end of the history"
HISTORY = "the history has one line per run"
METRICS = "the metrics are the sums of the history"
LEFT_OVER = "there are no leftovers"
JOURNALS = "every journal is in order and has one verdict"
OWED = "a snapshot becomes owed if and only if the lock is held"
SILENCE = "no worker's heartbeat was silent past the stale limit"
RUNS_THERE = "every requested run exists, and no other"

FAULTS: list[tuple[Fault, set[str]]] = [
    (drop_from_state, {"snapshots_missed_count", STATE}),
    (drop_the_newest_from_state, {"snapshots_missed_count", STATE}),
    (duplicate_in_state, {STATE}),
    (remove_state, {"snapshots_missed_count", STATE}),
    (garbage_state, {"snapshots_missed_count", "records_unparsable_count", STATE}),
    (duplicate_in_history, {HISTORY, STATE, METRICS}),
    (drop_from_history, {HISTORY, STATE, METRICS}),
    (another_status_in_history, {HISTORY, STATE, METRICS}),
    (oversize_log, {"largest_stream_bytes"}),
    (shrunk_log, {"largest_stream_bytes"}),
    (oversize_error_file, {"largest_error_file_bytes"}),
    (oversize_error_detail, {"largest_error_detail_bytes"}),
    (missing_error_file, {"largest_error_file_bytes"}),
    (temporary_file, {LEFT_OVER}),
    (marker, {LEFT_OVER, "snapshots_unpaid_count"}),
    (request_in_the_inbox, {LEFT_OVER}),
    (garbage_record, {"records_unparsable_count"}),
    (torn_journal, {"records_unparsable_count"}),
    (garbage_beat, {"records_unparsable_count", "heartbeat_writes_count"}),
    (lost_beat, {"heartbeat_writes_count", SILENCE}),
    (silence, {SILENCE}),
    (no_verdict, {JOURNALS, MANIFESTS}),
    (two_verdicts, {JOURNALS}),
    (in_the_verdict(seq=77), {JOURNALS}),
    (in_the_verdict(leftover_pids=[4711]), {"processes_left_alive_count"}),
    (in_the_verdict(status="failed"), {MANIFESTS}),
    (
        in_the_verdict(heartbeat={"ok": 0, "failed": 1, "slowest_s": 11.0}),
        {"heartbeat_writes_failed_ratio", "slowest_heartbeat_write_s"},
    ),
    (in_the_manifest("chatty", lambda m: m.update(status="in_progress")), {MANIFESTS, OUTCOMES}),
    (in_the_manifest("failing", lambda m: m.update(status="succeeded")), {MANIFESTS, OUTCOMES}),
    (in_the_manifest("failing", lambda m: m["commands"][1].update(exit_code=4)), {OUTCOMES}),
    (in_the_manifest("failing", lambda m: m["commands"][2].update(status="skipped")), {OUTCOMES}),
    (in_the_manifest("failing", lambda m: m["commands"][1].update(error_file=None)), {OUTCOMES}),
    (
        in_the_manifest("dying", lambda m: m["extensions"]["stages"][0].update(signal="SIGTERM")),
        {OUTCOMES},
    ),
    (
        in_the_manifest("chatty", lambda m: m["extensions"]["stages"][0]["stdout"].clear()),
        {OUTCOMES},
    ),
    (
        in_the_manifest("gated", lambda m: m["extensions"].update(warnings=[{"code": "owed"}])),
        {MANIFESTS},
    ),
    (in_the_metrics("totals", heartbeat_failures_count=9), {"heartbeat_writes_failed_ratio"}),
    (in_the_metrics("totals", slowest_heartbeat_s=10.5), {"slowest_heartbeat_write_s"}),
    (in_the_metrics("totals", slowest_manifest_s=10.5), {"slowest_manifest_write_s"}),
    (in_the_metrics("totals", bad_lines_count=1), {"records_unparsable_count"}),
    (in_the_metrics("totals", succeeded=1), {METRICS}),
    (in_the_metrics("lock", attempts_count=0), {"lock_attempts_count"}),
    (in_the_metrics("lock", attempts_count=99), {"lock_attempts_count"}),
    (in_the_metrics("lock", contended_count=0), {"lock_contended_count"}),
    (in_the_metrics("lock", owed_count=9), {"snapshots_owed_count", "snapshots_unpaid_count"}),
    (in_the_metrics("lock", paid_count=0), {"snapshots_unpaid_count"}),
    (lambda copy: copy.change(copy.layout.metrics(TASK), broken("x")), {METRICS}),
    (remove_metrics, {"lock_attempts_count", "slowest_manifest_write_s", METRICS}),
    (remove_run, {RUNS_THERE, HISTORY}),
    (open_to_others, {"no other user can read the records"}),
    (drop_from_log("snapshot_owed"), {"snapshots_owed_count", OWED}),
    (drop_from_log("snapshot_paid"), {"snapshots_unpaid_count"}),
]


@pytest.mark.parametrize(("fault", "expected"), FAULTS)
def test_a_planted_fault_is_a_breach(copy: Copy, fault: Fault, expected: set[str]) -> None:
    fault(copy)
    found = set(copy.judge().breaches)
    assert expected <= found, f"not found: {expected - found}"


OUTSIDES: list[tuple[dict[str, Any], str]] = [
    ({"exit_code": 0}, "the supervisor exits with the expected code"),
    ({"exit_code": None}, "the supervisor exits with the expected code"),
    ({"problems": ("no",)}, "all expected events came, and no traceback was printed"),
    ({"left_alive": (4711,)}, "processes_left_alive_count"),
    ({"slowest_manifest_s": 10.5}, "slowest_manifest_write_s"),
    ({"slowest_manifest_s": 9.5}, "slowest_manifest_write_s"),  # metrics.json has a smaller value
]


@pytest.mark.parametrize(("values", "expected"), OUTSIDES)
def test_a_problem_outside_the_records_is_a_breach(
    copy: Copy, values: dict[str, Any], expected: str
) -> None:
    outside = dataclasses.replace(Outside(exit_code=copy.plan.exit_code), **values)
    assert copy.judge(outside).breaches == (expected,)


def test_every_row_and_every_invariant_fails_in_some_test(copy: Copy) -> None:
    found = copy.judge()
    names = {row.name for row in found.rows} | {i.name for i in found.invariants}
    planted = set().union(*(expected for _, expected in FAULTS), (name for _, name in OUTSIDES))
    assert names == planted


def test_a_traceback_is_reported_by_its_last_line(tmp_path: Path) -> None:
    path = tmp_path / "stderr"
    frames = 'Traceback (most recent call last):\n  File "a.py", line 1, in <module>\n    x\n'
    path.write_text(f"words\n{frames}ImportError: no x\n{frames}ValueError\n")
    missing = str(tmp_path / "missing")
    assert tracebacks_in([str(path), missing]) == ["ImportError: no x", "ValueError"]


@pytest.mark.parametrize(
    ("value", "other", "breached"),
    [(5, 5, False), (5.1, 5.1, True), (5, 4, True), (None, 5, True), (None, None, True)],
)
def test_a_row_is_breached_beyond_its_limit_or_if_its_values_disagree(
    value: float | None, other: float | None, breached: bool
) -> None:
    row = equal_row("x_bytes", value, other, ways=("a", "b"), limit=5)
    assert row.breached == breached


def test_a_ratio_must_stay_below_its_limit() -> None:
    assert equal_row("x_ratio", 0.01, 0.01, ways=("a", "b"), limit=0.01).breached
    assert not equal_row("x_ratio", 0.009, 0.009, ways=("a", "b"), limit=0.01).breached


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    env = {**os.environ, "SUPERVISED_ROOT": str(tmp_path / "root")}
    with subprocess.Popen(["sleep", "60"], env=env) as process:
        yield process
        process.kill()


def test_a_process_of_the_root_is_found(tmp_path: Path, sleeper: "subprocess.Popen[bytes]") -> None:
    root = str(tmp_path / "root")
    until = time.monotonic() + 10
    while processes_of(root) != [sleeper.pid]:  # between fork and exec its environment differs
        assert time.monotonic() < until
        time.sleep(0.01)
    assert processes_of(f"{root}-2") == []


@pytest.mark.fault("V1", "V2")
@pytest.mark.parametrize("scenario", [name for name in SCENARIOS if name != "standard"])
def test_a_scenario_of_one_kind_breaches_nothing_in_two_rounds(
    tmp_path: Path, scenario: str
) -> None:
    argv = ("--scenario", scenario, "--runs", "6", "--rounds", "2", "--beat", "0.1")
    done = run_harness(tmp_path, *argv)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "rounds 2" in done.stdout.splitlines()[-1]
    assert "nothing is breached" in done.stdout.splitlines()[-1]
    assert os.listdir(tmp_path) == [], "the root is removed"


def test_a_breach_keeps_the_root_and_leaves_no_process_alive(tmp_path: Path) -> None:
    argv = ("--scenario", "sleep", "--runs", "2", "--deadline", "0.5", "--json")
    done = run_harness(tmp_path, *argv)
    assert done.returncode == 1, done.stdout + done.stderr
    reported = json.loads(done.stdout)
    assert "the supervisor exits with the expected code" in reported["breaches"]
    assert f"kept: {reported['kept']}" in done.stderr
    assert processes_of(os.path.join(reported["kept"], "root")) == []


def test_a_terminated_suite_leaves_neither_processes_nor_files(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "stress", "--scenario", "sleep", "--runs", "4"]
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(argv, cwd=CHECKOUT, env=env, stdout=subprocess.DEVNULL) as process:
        until = time.monotonic() + 30
        while not any(processes_of(str(path)) for path in tmp_path.glob("*/root")):
            assert time.monotonic() < until
            assert process.poll() is None
            time.sleep(0.01)
        (root,) = tmp_path.glob("*/root")
        process.terminate()
        assert process.wait(30) == 128 + signal.SIGTERM
    assert processes_of(str(root)) == []
    assert os.listdir(tmp_path) == []


@pytest.mark.fault("V1")
@pytest.mark.stress
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_fifty_runs_at_once_breach_nothing(tmp_path: Path, scenario: str) -> None:
    done = run_harness(tmp_path, "--scenario", scenario, "--runs", "50")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.stress
@pytest.mark.fault("V2")
@pytest.mark.timeout(600)
def test_two_hundred_runs_that_end_at_the_same_instant_breach_nothing(tmp_path: Path) -> None:
    done = run_harness(tmp_path, "--scenario", "barrier", "--runs", "200", within_s=500)
    assert done.returncode == 0, done.stdout + done.stderr

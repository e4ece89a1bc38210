"""Stages with needs: they run side by side, and each has its own processes, output and slots."""

import contextlib
import fcntl
import json
import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.contract.worker.work import DEADLINE_S, Run, make, shell, work
from tests.examples import stage
from tests.root import alive as living
from tests.root import wait_until
from workers.records.journal import read_journal
from workers.records.layout import Layout
from workers.records.manifest import Observed, fold_manifest
from workers.records.proc import proc_stat
from workers.records.spec import RetrySpec, load_spec
from workers.stages import slots

# Each of two stages waits for the other to begin: in sequence they would never end.
MEET = "touch {mine}; while ! test -e {other}; do sleep 0.01; done"


def alive(pid_file: Path) -> bool:
    stat = proc_stat(int(pid_file.read_text()))
    return stat is not None and not stat.has_ended


def commands(run: Run) -> dict[str, dict[str, Any]]:
    """The stages as the manifest tells them."""
    facts = read_journal(run.run.journal)
    found = fold_manifest(
        load_spec(run.run.spec),
        facts,
        layout=Layout(str(run.root)),
        observed=Observed(updated_at=facts[-1].at),
    )
    return {command["id"]: command for command in found["commands"]}


def test_middle_of_a_diamond_runs_side_by_side_and_its_end_waits_for_both(
    tmp_path: Path,
) -> None:
    run = work(
        tmp_path,
        shell("echo begin", "top", needs=()),
        shell(MEET.format(mine="l", other="r"), "left", needs=("top",)),
        shell(MEET.format(mine="r", other="l"), "right", needs=("top",)),
        shell("echo end", "bottom", needs=("left", "right")),
    )
    assert run.verdict["status"] == "succeeded"
    order = [(e["event"], e["stage"]) for e in run.events() if "stage" in e]
    assert order[:4] == [
        ("stage_started", "top"),
        ("stage_ended", "top"),
        ("stage_started", "left"),
        ("stage_started", "right"),
    ]
    assert {order[4], order[5]} == {("stage_ended", "left"), ("stage_ended", "right")}
    assert order[6:] == [("stage_started", "bottom"), ("stage_ended", "bottom")]
    assert run.log(1, "top") == b"begin\n"
    assert run.log(4, "bottom") == b"end\n"


def test_failure_stops_only_dependent_stages_and_names_the_reason(tmp_path: Path) -> None:
    run = work(
        tmp_path,
        shell("exit 3", "bad", needs=()),
        shell("true", "after", needs=("bad",)),
        shell("true", "last", needs=("after", "good")),
        shell("while ! test -e ../never -o -e go; do sleep 0.01; touch go; done", "good", needs=()),
        shell("true", "more", needs=("good",)),
    )
    assert (run.verdict["status"], run.verdict["detail"]) == ("failed", "stage:bad:failed")
    assert run.verdict["unmet"] == {"after": "bad", "last": "after"}
    stages_by_id = commands(run)
    assert [stages_by_id[name]["status"] for name in ("bad", "good", "more")] == [
        "failed",
        "succeeded",
        "succeeded",
    ]
    assert stages_by_id["after"]["status"] == stages_by_id["last"]["status"] == "pending"
    assert stages_by_id["after"]["summary"] == "not begun: it needs bad, which failed"
    assert stages_by_id["last"]["summary"] == "not begun: it needs after, which did not run"


def test_max_parallel_limits_running_stages(tmp_path: Path) -> None:
    stages = [shell("sleep 0.05", f"s{n}", needs=()) for n in range(6)]
    run = work(tmp_path, *stages, max_parallel=2)
    on, most = 0, 0
    for event in run.events():
        on += {"stage_started": 1, "stage_ended": -1}.get(event["event"], 0)
        most = max(most, on)
    assert most == 2
    assert run.verdict["status"] == "succeeded"


def test_ending_stage_kills_only_its_own_leftovers(tmp_path: Path) -> None:
    daemon = "setsid sh -c 'echo $$ > {0}.pid; exec sleep 600' > /dev/null 2>&1 < /dev/null &"
    wait = "while ! test -s {0}.pid; do sleep 0.01; done; "
    run = work(
        tmp_path,
        shell(daemon.format("one") + wait.format("one"), "one", needs=()),
        shell(
            daemon.format("two")
            + wait.format("two")
            + 'while ! grep -qs \'"stage_ended".*"one"\' "$SUPERVISED_RUN_DIR/journal.ndjson";'
            + "do sleep 0.02; done; kill -0 $(cat two.pid)",
            "two",
            needs=(),
        ),
    )
    ended = {event["stage"]: event for event in run.of("stage_ended")}
    assert ended["two"]["status"] == "succeeded", ended["two"]  # its daemon outlived stage one
    assert (ended["one"]["leftover_count"], ended["two"]["leftover_count"]) == (1, 1)
    for name in ("one", "two"):
        assert not alive(tmp_path / f"{name}.pid")


def test_timed_out_stage_is_killed_and_the_other_continues(tmp_path: Path) -> None:
    run = work(
        tmp_path,
        shell("sleep 600", "slow", needs=(), timeout_s=0.2),
        shell(
            'while ! grep -qs \'"stage_ended".*"slow"\' "$SUPERVISED_RUN_DIR/journal.ndjson";'
            "do sleep 0.02; done; echo there",
            "other",
            needs=(),
        ),
    )
    assert run.verdict["detail"] == "stage:slow:timed-out"
    assert run.log(2, "other") == b"there\n"


def test_cancelled_run_ends_every_running_stage(tmp_path: Path) -> None:
    run = make(tmp_path, [shell(f"echo $$ > {n}.pid; sleep 600", n, needs=()) for n in "abc"])
    process = run.start()
    pids = [tmp_path / f"{n}.pid" for n in "abc"]
    wait_until(lambda: all(p.exists() and p.read_text().strip() for p in pids), "three pids")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=DEADLINE_S)
    assert (run.verdict["status"], run.verdict["detail"]) == ("cancelled", "stopped")
    assert [e["reason"] for e in run.of("stage_ended")] == ["cancelled"] * 3
    assert not any(map(alive, pids))


def test_pipeline_deadline_ends_every_running_stage(tmp_path: Path) -> None:
    stages = [shell("sleep 600", n, needs=()) for n in "ab"]
    run = work(tmp_path, *stages, shell("true", "c", needs=("a",)), timeout_s=0.3)
    assert (run.verdict["status"], run.verdict["detail"]) == ("failed", "timed-out")
    assert [e["reason"] for e in run.of("stage_ended")] == ["timed-out"] * 2


def test_output_of_stages_side_by_side_is_never_mixed(tmp_path: Path) -> None:
    text = "i=0; while [ $i -lt 2000 ]; do echo {0}{0}{0}; echo {0} >&2; i=$((i+1)); done"
    run = work(tmp_path, *(shell(text.format(n), n, needs=()) for n in "abcd"))
    for index, name in enumerate("abcd", 1):
        assert set(run.log(index, name).split()) == {name.encode() * 3}
        assert set(run.log(index, name, "stderr").split()) == {name.encode()}
        assert len(run.log(index, name).split()) == 2000


def test_retries_of_one_stage_do_not_delay_another(tmp_path: Path) -> None:
    flaky = "test -e other-was-here || exit 1"
    run = work(
        tmp_path,
        shell(flaky, "flaky", needs=(), retries=RetrySpec(attempts=50, delay_s=0.05, factor=1.0)),
        shell("sleep 0.2; touch other-was-here", "other", needs=()),
    )
    assert run.verdict["status"] == "succeeded"
    assert run.of("stage_retried")


def test_circular_needs_are_a_failure_never_a_success(tmp_path: Path) -> None:
    run = work(tmp_path, shell("true", "a", needs=("b",)), shell("true", "b", needs=("a",)))
    assert (run.verdict["status"], run.verdict["detail"]) == ("failed", "stage:worker:error")
    assert "never begins" in run.verdict["reason"]


def test_need_that_the_spec_does_not_contain_is_a_bad_spec(tmp_path: Path) -> None:
    run = make(tmp_path, [stage("a", command=("true",), needs=("b",))])
    process = run.start()
    _, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 65
    assert b"hold none called 'b', which a needs" in err


def slotted(root: Path, *stages: Any, count: int, priority: int = 0, **values: Any) -> Run:
    run = make(root, stages, **values)
    spec = json.loads(Path(run.run.spec).read_text())
    spec["priority"] = priority
    spec["slots"] = [{"name": "gpu", "count": count}]
    Path(run.run.spec).write_text(json.dumps(spec))
    return run


def test_runs_share_slots_and_a_killed_worker_releases_its_own(tmp_path: Path) -> None:
    hold = slotted(tmp_path, shell("touch held; sleep 600", "s", uses=("gpu",)), count=1)
    other = slotted(tmp_path, shell("echo mine", "s", uses=("gpu",)), count=1)
    holder = hold.start()
    wait_until((tmp_path / "held").exists, "the slot is held")
    waiter = other.start()
    wait_until(lambda: bool(other.of("stage_waiting")), "it waits")
    assert other.of("stage_waiting")[0]["slots"] == ["gpu"]
    assert not other.of("stage_started")
    group = int(Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text().split()[0])
    holder.kill()
    os.killpg(group, signal.SIGKILL)
    waiter.communicate(timeout=DEADLINE_S)
    assert other.log(1, "s") == b"mine\n"
    assert other.verdict["status"] == "succeeded"


def test_no_more_stages_hold_slots_than_there_are(tmp_path: Path) -> None:
    busy = "echo + >> log; sleep 0.05; echo - >> log"
    stages = [shell(busy, f"s{n}", needs=(), uses=("gpu",)) for n in range(8)]
    run = slotted(tmp_path, *stages, count=2)
    run.start().communicate(timeout=DEADLINE_S)
    assert run.verdict["status"] == "succeeded"
    on, most = 0, 0
    for sign in (tmp_path / "log").read_text().split():
        on += 1 if sign == "+" else -1
        most = max(most, on)
    assert most == 2


def test_stage_that_waits_for_a_slot_can_be_cancelled_or_timed_out(tmp_path: Path) -> None:
    hold = slotted(tmp_path, shell("touch held; sleep 600", "s", uses=("gpu",)), count=1)
    holder = hold.start()
    wait_until((tmp_path / "held").exists, "the slot is held")
    cancelled = slotted(tmp_path, shell("true", "s", uses=("gpu",)), count=1)
    process = cancelled.start()
    wait_until(lambda: bool(cancelled.of("stage_waiting")), "it waits")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=DEADLINE_S)
    assert cancelled.verdict["status"] == "cancelled"
    assert cancelled.verdict["reason"] == "s: cancelled while it waited for gpu"
    late = make(tmp_path, [shell("true", "s", uses=("gpu",))], timeout_s=0.2)
    began = time.monotonic()
    late.start().communicate(timeout=DEADLINE_S)
    assert time.monotonic() - began < DEADLINE_S / 2
    assert late.verdict["detail"] == "timed-out"
    holder.terminate()
    holder.communicate(timeout=DEADLINE_S)


@pytest.mark.fault("R7")
def test_slot_of_a_killed_worker_is_free_when_the_last_process_of_its_stage_is_gone(
    tmp_path: Path,
) -> None:
    daemon = "setsid sh -c 'echo $$ > {0}.pid; mv {0}.pid {0}; exec sleep 600' <&- >&- 2>&- &"
    other_stage = shell(daemon.format("beside") + " sleep 600", "beside", needs=())
    holds = shell(daemon.format("held") + " sleep 600", "holds", needs=(), uses=("gpu",))
    hold = slotted(tmp_path, other_stage, holds, count=1)
    waits = slotted(tmp_path, shell("echo mine", "s", uses=("gpu",)), count=1)
    holder = hold.start()
    pids = tmp_path / "held", tmp_path / "beside"
    wait_until(lambda: all(path.exists() for path in pids), "both stages have daemons")
    daemons = [int(path.read_text()) for path in pids]
    holder.kill()
    holder.wait()
    waiter = waits.start()
    try:
        wait_until(lambda: bool(waits.of("stage_waiting")), "it waits")
        tickets = tmp_path / ".runs/.supervisor/slots/waiting"
        (ticket,) = wait_until(
            lambda: [p for p in tickets.iterdir() if not p.name.startswith(".")], "it has a ticket"
        )
        polled_ns = ticket.stat().st_mtime_ns
        wait_until(lambda: ticket.stat().st_mtime_ns > polled_ns, "it has asked once more")
        assert not waits.of("stage_started"), "the daemon of the stage lives"
        for pid in stage_pids(hold, "holds"):
            os.kill(pid, signal.SIGKILL)
        waiter.communicate(timeout=DEADLINE_S)
        assert waits.verdict["status"] == "succeeded"
        assert alive(pids[1]), "another stage of the same run has no part in the slot"
    finally:
        for pid in (*daemons, *stage_pids(hold, "holds"), *stage_pids(hold, "beside")):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def stage_pids(run: Run, stage_id: str) -> list[int]:
    """The living processes of a stage, by their environment."""
    marks = f"SUPERVISED_RUN_ID={run.run.run_id}", f"SUPERVISED_STAGE_ID={stage_id}\0"
    return [pid for pid in living(marks[0]) if pid in living(marks[1])]


@pytest.mark.fault("R7")
@pytest.mark.parametrize("content", [b"{", b'{"run_id": 7}', b'{"run_id": "x", "stage": []}'])
def test_slot_file_that_names_no_stage_is_free(tmp_path: Path, content: bytes) -> None:
    run = slotted(tmp_path, shell("true", "s", uses=("gpu",)), count=1)
    slot = Path(Layout(str(tmp_path)).slot("gpu", 0))
    slot.parent.mkdir(mode=0o700)
    slot.write_bytes(content)
    run.start().communicate(timeout=DEADLINE_S)
    assert run.verdict["status"] == "succeeded"
    assert slot.read_bytes() == b""


@pytest.mark.fault("R8")
def test_slots_are_given_by_priority_then_by_order_of_acceptance(tmp_path: Path) -> None:
    hold = slotted(tmp_path, shell("touch held; sleep 600", "s", uses=("gpu",)), count=1)
    holder = hold.start()
    wait_until((tmp_path / "held").exists, "the slot is held")
    names = {"second": 0, "third": 0, "first": 5, "last": -1}
    runs = {}
    for name, priority in names.items():
        runs[name] = slotted(
            tmp_path, shell(f"echo {name} >> order", "s", uses=("gpu",)), count=1, priority=priority
        )
    started = []
    for name in ("last", "third", "first", "second"):
        started.append(runs[name].start())
        wait_until(lambda name=name: bool(runs[name].of("stage_waiting")), "it waits")
    os.killpg(stage_pids(hold, "s")[0], signal.SIGKILL)
    for process in (holder, *started):
        process.communicate(timeout=DEADLINE_S)
    assert (tmp_path / "order").read_text().split() == ["first", "second", "third", "last"]
    assert os.listdir(tmp_path / ".runs/.supervisor/slots/waiting") == []


@pytest.mark.fault("R8")
def test_ticket_of_a_dead_or_silent_worker_is_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots, "_SILENT_S", 0.0)
    run = slotted(tmp_path, shell("true", "s", uses=("gpu",)), count=1)
    context = SimpleNamespace(
        layout=Layout(str(tmp_path)),
        spec=load_spec(run.run.spec),
        control=SimpleNamespace(detail=None),
        root_id="1-1",
    )
    mine = slots.Slots(context, 1, shell("true", "s", uses=("gpu",)))  # type: ignore[arg-type]
    waiting = Path(Layout(str(tmp_path)).slots_waiting)
    waiting.mkdir(parents=True, mode=0o700)
    dead, silent = waiting / "0000.dead", waiting / "0000.silent"
    for ticket in (dead, silent):
        ticket.write_text('{"slots": ["gpu"]}')
    with silent.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        held = mine.take()
        assert held is not None
        held.release(is_clean=True)
        assert not dead.exists()
        monkeypatch.setattr(slots, "_SILENT_S", 60.0)
        assert mine.take() is None, "it polls, as far as we can tell"


@pytest.mark.fault("R8")
def test_waiting_stage_takes_no_place_and_no_slot_that_it_cannot_use(
    tmp_path: Path,
) -> None:
    hold = slotted(tmp_path, shell("touch held; sleep 600", "s", uses=("gpu",)), count=1)
    holder = hold.start()
    wait_until((tmp_path / "held").exists, "the slot is held")
    wait = "touch {0}; while ! test -e {0}-ends; do sleep 0.02; done"
    mixed = slotted(
        tmp_path,
        shell("true", "wants", needs=(), uses=("gpu",)),
        shell(wait.format("one"), "one", needs=()),
        shell(wait.format("two"), "two", needs=()),
        count=1,
        max_parallel=2,
    )
    process = mixed.start()
    wait_until(lambda: (tmp_path / "one").exists() and (tmp_path / "two").exists(), "both are on")
    os.killpg(stage_pids(hold, "s")[0], signal.SIGKILL)
    holder.communicate(timeout=DEADLINE_S)
    other = slotted(tmp_path, shell("true", "s", uses=("gpu",)), count=1)
    other.start().communicate(timeout=DEADLINE_S)
    assert other.verdict["status"] == "succeeded", "the slot was free for who could use it"
    assert [e["stage"] for e in mixed.of("stage_started")] == ["one", "two"]
    (tmp_path / "one-ends").touch()
    wait_until(lambda: len(mixed.of("stage_ended")) == 2, "it has a place now")
    (tmp_path / "two-ends").touch()
    process.communicate(timeout=DEADLINE_S)
    assert mixed.verdict["status"] == "succeeded"

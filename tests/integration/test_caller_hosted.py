"""``supervisor run``: the caller hosts its run, and nobody else's run depends on that caller."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.root import DEADLINE_S, Root, alive, wait_until
from workers.records.caller import announce_caller

UNTIL_GO = "while ! test -e {go}; do sleep 0.05; done"
BEGIN_UNTIL_GO = f"touch begun.$$; {UNTIL_GO}"  # a stage is a shell, and now and then its sleep


def begun_count(root: Root) -> int:
    """How many stages of BEGIN_UNTIL_GO have begun."""
    return len(list(root.path.glob("begun.*")))


def temporary_pid(root: Root) -> int | None:
    """The temporary supervisor that serves the root, once it has said so."""
    try:
        lease = json.loads((root.path / ".runs/.supervisor/lease.json").read_text())
    except (OSError, ValueError):
        return None
    pid = lease["identity"]["pid"]
    return int(pid) if lease["temporary"] else None


def workers_of(root: Root) -> list[int]:
    """The keepers and workers of the root's caller-hosted runs."""
    return sorted(set(alive(f"{root.path}/.runs/")) & set(alive("--claim\0")))


def stages_of(root: Root, mark: str) -> list[int]:
    """The living stages whose environment or command line holds a text."""
    return sorted(set(alive(mark)) & set(root.stages()))


def kill_tree(process: "subprocess.Popen[str]") -> None:
    """Kill a process and all that it has started, as the end of its container does."""
    import psutil

    tree = [psutil.Process(process.pid)]
    tree += tree[0].children(recursive=True)
    for act in (psutil.Process.suspend, psutil.Process.kill):
        for one in tree:
            with contextlib.suppress(psutil.NoSuchProcess):  # exited since it was listed
                act(one)
    process.wait()


@pytest.mark.fault("P50")
@pytest.mark.parametrize("is_served", [False, True], ids=["no-start", "with-start"])
def test_each_run_has_its_callers_environment_umask_limits_and_directory(
    root: Root, tmp_path: Path, is_served: bool
) -> None:
    service = root.serving() if is_served else None
    here = tmp_path / "elsewhere"
    here.mkdir()
    show = "echo $FLAVOUR $(umask) $(ulimit -Sn) $(pwd)"
    first = root.popen(
        "run", "--", "sh", "-c", f"{UNTIL_GO.format(go='go')}; {show}", env={"FLAVOUR": "first"}
    )
    wait_until(root.stages, "the first run is at work")
    second = root.call(
        *("run", "--root", str(root.path), "--", "sh", "-c", show),
        env={"FLAVOUR": "second"},
        under=("sh", "-c", f'umask 027; ulimit -Sn 321; cd {here}; exec "$@"', "sh"),
    )
    root.write("go", "")
    done = root.finish(first)
    umask = os.umask(0)
    os.umask(umask)
    assert second.out == f"second 0027 321 {here}\n", second.err
    assert done.out.startswith(f"first {umask:04o} "), done.err
    assert done.out.endswith(f" {root.path}\n")
    if service is not None:
        root.stop(service)


@pytest.mark.fault("P50")
def test_a_pipeline_and_its_sub_pipelines_have_the_callers_environment_and_the_roots_directory(
    root: Root,
) -> None:
    root.configure(
        '[pipelines.outer]\nstages = [{ id = "sub", pipeline = "inner" }]\n'
        '[pipelines.inner]\nstages = [{ id = "s", command = "echo $FLAVOUR; pwd" }]\n'
    )
    below = root.path / "below"
    below.mkdir()
    service = root.serving()
    done = root.call(
        *("run", "outer"),
        env={"FLAVOUR": "mine"},
        under=("env", "-C", str(below)),
    )
    root.stop(service)
    assert done.code == 0, done.err
    (inner,) = [m for m in root.manifests() if m["pipeline_id"] == "inner"]
    assert root.call("logs", inner["run_id"]).out == f"mine\n{root.path}\n"
    root.check_settled(count=2)


@pytest.mark.fault("P50")
def test_killing_everything_below_one_caller_harms_no_other_caller(root: Root) -> None:
    first = root.popen("run", "--", "sh", "-c", "sleep 60", env={"FLAVOUR": "first"})
    wait_until(lambda: stages_of(root, "FLAVOUR=first"), "the first run is at work")
    second = root.popen(
        "run", "--", "sh", "-c", UNTIL_GO.format(go="go"), env={"FLAVOUR": "second"}
    )
    wait_until(lambda: stages_of(root, "FLAVOUR=second"), "the second run is at work")
    kill_tree(first)  # its host, its worker, and the temporary supervisor that it had started
    root.write("go", "")
    done = root.finish(second)
    assert done.code == 0, done.err
    statuses = wait_until(
        lambda: (
            (
                (found := sorted(m["status"] for m in root.manifests()))
                and "in_progress" not in found
            )
            and found
        ),
        "the killed run has its verdict",
    )
    assert statuses == ["failed", "succeeded"]
    assert not root.stages()
    wait_until(lambda: not alive(f"--root\0{root.path}"), "the temporary supervisor ends")
    root.check_settled(count=2)


@pytest.mark.fault("P50", "P1")
def test_a_killed_temporary_supervisor_is_replaced_and_the_runs_go_on(root: Root) -> None:
    command = ("sh", "-c", BEGIN_UNTIL_GO.format(go="go"))
    runs = [root.popen("run", "--", *command) for _ in range(3)]
    wait_until(lambda: begun_count(root) == 3, "all runs are at work")
    workers = workers_of(root)
    for _ in range(2):
        pid = wait_until(lambda: temporary_pid(root), "a temporary supervisor serves")
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda pid=pid: temporary_pid(root) not in (None, pid), "another one serves")
    assert workers_of(root) == workers
    root.write("go", "")
    assert [root.finish(process).code for process in runs] == [0, 0, 0]
    wait_until(lambda: not alive(f"--root\0{root.path}"), "the temporary supervisor ends")
    root.check_settled(count=3)


@pytest.mark.fault("P50")
def test_a_start_takes_the_lease_over_from_a_temporary_supervisor(root: Root) -> None:
    run = root.popen("run", "--", "sh", "-c", UNTIL_GO.format(go="go"))
    wait_until(root.stages, "the run is at work")
    workers = workers_of(root)
    temporary = wait_until(lambda: temporary_pid(root), "a temporary supervisor serves")
    service = root.popen("start")
    submitted = root.call("submit", "--", "true").out.strip()
    assert root.call("wait", submitted).code == 0  # a temporary one would not start it
    wait_until(lambda: not os.path.exists(f"/proc/{temporary}"), "the temporary one has ended")
    assert workers_of(root) == workers
    refused = root.call("start")
    assert (refused.code, service.poll()) == (75, None), "a start does not give way to another"
    root.write("go", "")
    assert root.finish(run).code == 0
    root.stop(service)
    root.check_settled(count=2)


@pytest.mark.fault("P50")
def test_a_restarted_unit_serves_again_although_runs_wait(root: Root) -> None:
    unit = root.call("unit").out.splitlines()
    start, stop = (
        next(line.partition("=")[2] for line in unit if line.startswith(key))
        for key in ("ExecStart=", "ExecStop=")
    )
    run = root.popen("run", "--", "sh", "-c", UNTIL_GO.format(go="go"))
    wait_until(root.stages, "the run is at work")
    for round_number in range(3):
        service = root.shell(f"exec {start}")
        submitted = root.call("submit", "--", "true").out.strip()
        done = root.call("wait", submitted, "--timeout", str(DEADLINE_S))
        assert done.code == 0, f"round {round_number}: {done.err}"
        assert root.finish(root.shell(f"exec {stop}")).code == 0
        assert root.finish(service).code == 0
    root.write("go", "")
    assert root.finish(run).code == 0
    wait_until(lambda: not alive(f"--root\0{root.path}"), "the temporary supervisor ends")
    root.check_settled(count=4)


@pytest.mark.fault("P51")
def test_a_run_whose_caller_is_gone_before_it_began_is_cancelled(root: Root) -> None:
    service = root.serving()
    assert root.call("pause").code == 0
    waiting = root.popen("run", "--", "sh", "-c", "echo never >> never")
    (run_id,) = wait_until(
        lambda: [m["run_id"] for m in root.manifests()], "the run is accepted and held"
    )
    kill_tree(waiting)
    assert root.call("resume").code == 0
    root.wait_for_status(run_id, "cancelled")
    (manifest,) = root.manifests()
    assert manifest["status_detail"] == "caller-gone"
    assert root.call("wait", run_id).code == 11
    root.stop(service)
    assert not (root.path / "never").exists()
    assert os.listdir(root.layout.callers) == []
    root.check_settled(count=1)


@pytest.mark.fault("P51")
def test_a_hang_up_or_kill_of_the_caller_leaves_its_run_at_work(root: Root) -> None:
    for number in (signal.SIGHUP, signal.SIGKILL):
        run = root.popen("run", "--", "sh", "-c", UNTIL_GO.format(go=number.name))
        wait_until(lambda number=number: stages_of(root, number.name), "the run is at work")
        run.send_signal(number)
        assert run.wait(DEADLINE_S) == -number
        assert stages_of(root, number.name)
        root.write(number.name, "")
        wait_until(
            lambda: {m["status"] for m in root.manifests()} == {"succeeded"}, "the run succeeds"
        )
    wait_until(lambda: not alive(f"--root\0{root.path}"), "the temporary supervisor ends")
    root.check_settled(count=2)


def test_a_caller_whose_reader_is_gone_cancels_its_run_and_names_it(root: Root) -> None:
    reader, writer = os.pipe()
    env = {k: v for k, v in os.environ.items() if not k.startswith("SUPERVIS")}
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "supervisor",
            "run",
            "--",
            "sh",
            "-c",
            "while echo y; do sleep 0.05; done",
        ],
        cwd=root.path,
        env=env,
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
    )
    root.started.append(process)
    os.close(writer)
    assert os.read(reader, 1) == b"y"
    os.close(reader)
    _, err = process.communicate(timeout=DEADLINE_S)
    (manifest,) = root.manifests()
    assert process.returncode == 141
    assert f"cancelling {manifest['run_id']}: its output was closed" in err
    assert manifest["status"] == "cancelled"


def test_hooks_have_ended_when_run_returns(root: Root) -> None:
    root.configure(
        '[pipelines.p]\nstages = [{ id = "s", command = "exit 3" }]\n',
        settings='on_failure = "sleep 0.5; echo told >> told"\n',
    )
    assert root.call("run", "p").code == 10
    assert (root.path / "told").read_text() == "told\n"
    assert root.call("run", "p").code == 10
    assert (root.path / "told").read_text() == "told\ntold\n"


@pytest.mark.fault("P52")
@pytest.mark.parametrize("held", ["", "pause", "drain"])
def test_a_nested_run_takes_the_place_of_its_outer_run(root: Root, held: str) -> None:
    inner = f"{sys.executable} -m supervisor run -- sh -c 'echo inner $SUPERVISED_RUN_ID'"
    root.configure(
        f'[pipelines.outer]\nstages = [{{ id = \'o\', command = """{UNTIL_GO.format(go="go")};'
        f' {inner} && {inner}"""}}]\n',
        settings="max_runs = 1\n",
    )
    service = root.serving()
    outer = root.popen("run", "outer")
    wait_until(root.stages, "the outer run is at work")
    helper = root.popen(held) if held else None
    if helper is not None and held == "pause":
        assert root.finish(helper).code == 0
    if held == "drain":
        wait_until(
            lambda: (
                json.loads((root.path / ".runs/.supervisor/status.json").read_text())["mode"]
                == "draining"
            ),
            "it drains",
        )
    root.write("go", "")
    done = root.finish(outer)
    assert done.code == 0, done.err
    assert done.out.count("inner") == 2
    if held != "drain":
        root.stop(service)
    assert root.finish(service).code == 0
    root.check_settled(count=3)
    for event in root.events(next(m["run_id"] for m in root.manifests())):
        if event["event"] == "stage_ended":
            assert event["leftover_count"] == 0, "run has ended all that it started"


@pytest.mark.fault("P52")
def test_nested_runs_of_one_outer_run_borrow_its_place_one_at_a_time(root: Root) -> None:
    inner = f"{sys.executable} -m supervisor run -- sh -c 'mkdir alone && sleep 0.3 && rmdir alone'"
    root.configure(
        f'[pipelines.outer]\nstages = [{{ id = \'o\', command = """{inner} & p=$!; {inner} && '
        'wait $p"""}]\n',
        settings="max_runs = 1\n",
    )
    done = root.call("run", "outer")
    assert done.code == 0, done.err
    wait_until(lambda: not alive(f"--root\0{root.path}"), "the temporary supervisor ends")
    root.check_settled(count=3)


def test_a_run_that_stays_queued_says_why(root: Root) -> None:
    root.configure(
        '[pipelines.p]\ngroup = "one"\nstages = [{ id = "s", command = "sleep 60" }]\n',
        settings="[supervisor.groups]\none = 1\n",
    )
    service = root.serving()
    first = root.call("submit", "p").out.strip()
    root.wait_for_status(first, "in_progress")
    waiting = root.popen("run", "p")
    assert waiting.stderr is not None
    line = waiting.stderr.readline()
    assert "is still queued: group one is full (1 of 1 running)" in line
    waiting.send_signal(signal.SIGTERM)
    assert root.finish(waiting).code == 11
    root.stop(service)


def test_env_is_passed_on_shown_by_name_and_never_a_secret(root: Root, tmp_path: Path) -> None:
    root.configure(settings='secrets = ["TOKEN"]\n')
    env = {"TOKEN": "a-long-secret-value", "COPIED": "from here"}
    refused = [
        root.call("submit", "--env", item, "--", "true", env=env)
        for item in (
            "TOKEN",
            "TOKEN=x",
            "OTHER=has a-long-secret-value",
            "no-name=1",
            "UNSET",
            "SUPERVISED_RUN_ID=1",
        )
    ]
    assert [done.code for done in refused] == [2] * 6
    assert all("--env" in done.err for done in refused)
    assert root.call("status", "--json").json()["runs"] == []
    submitted = root.call(
        *("submit", "--env", "COPIED", "--env", "GIVEN=b=c", "--cwd", str(tmp_path), "--"),
        *("sh", "-c", "echo $COPIED $GIVEN; pwd"),
        env=env,
    ).out.strip()
    assert root.call("start", "--once", env={"COPIED": "from there"}).code == 0
    assert root.call("logs", submitted).out == f"from here b=c\n{tmp_path}\n"
    shown = root.call("show", submitted).out
    assert "env       the supervisor's; COPIED, GIVEN (--env)\n" in shown
    assert "from here" not in shown.replace("sh -c", "")
    assert root.call("submit", "--cwd", str(tmp_path / "none"), "--", "true").code == 2
    assert root.call("run", "--cwd", ".", "some-pipeline").code == 2


@pytest.mark.fault("P50")
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes PID namespaces")
def test_runs_in_two_pid_namespaces_harm_each_other_in_no_way(root: Root) -> None:
    inside = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
    first = root.popen("run", "--", "sh", "-c", "sleep 60", env={"FLAVOUR": "first"}, under=inside)
    wait_until(lambda: stages_of(root, "FLAVOUR=first"), "the first run is at work")
    second = root.popen(
        *("run", "--", "sh", "-c", UNTIL_GO.format(go="go") + "; ls -d /proc/[0-9]* | wc -l"),
        env={"FLAVOUR": "second"},
        under=inside,
    )
    wait_until(lambda: stages_of(root, "FLAVOUR=second"), "the second run is at work")
    first.kill()
    first.wait()
    wait_until(lambda: not stages_of(root, "FLAVOUR=first"), "the first namespace has ended")
    root.write("go", "")
    done = root.finish(second)
    assert done.code == 0, done.err
    assert int(done.out) < 20, "it sees the processes of its own namespace"


def test_a_stale_callers_file_is_swept_and_a_locked_one_is_not(root: Root) -> None:
    gone, there = "2026-11-27T10-00-00-000Z-00000001", "2026-11-27T10-00-00-000Z-00000002"
    os.close(announce_caller(root.layout, gone))
    fd = announce_caller(root.layout, there)
    try:
        assert root.call("start", "--once").code == 0
        assert os.listdir(root.layout.callers) == [there]
    finally:
        os.close(fd)


@pytest.mark.slow
@pytest.mark.fault("P50", "P51")
@pytest.mark.timeout(600)
def test_of_fifty_callers_ten_are_killed_and_then_the_lease_holder(root: Root) -> None:
    storm(root, callers_count=50, killed_count=10)


@pytest.mark.fault("P50", "P51")
def test_of_eight_callers_two_are_killed_and_then_the_lease_holder(root: Root) -> None:
    storm(root, callers_count=8, killed_count=2)


def storm(root: Root, *, callers_count: int, killed_count: int) -> None:
    """Kill some callers with all that they started, then the lease holder; the others succeed."""
    seed = time.time_ns() % 100_000
    print(f"seed {seed}")
    import random

    chance = random.Random(seed)
    root.configure(settings=f"max_runs = {callers_count}\n")
    callers = [
        root.popen("run", "--task", f"t{n}", "--", "sh", "-c", BEGIN_UNTIL_GO.format(go="go"))
        for n in range(callers_count)
    ]
    wait_until(lambda: begun_count(root) == callers_count, "all runs are at work")
    killed = chance.sample(callers, killed_count)
    for process in killed:
        kill_tree(process)
    pid = wait_until(lambda: temporary_pid(root), "a temporary supervisor serves")
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        print("the lease holder was killed with its caller")
    root.write("go", "")
    done = {id(p): root.finish(p) for p in callers if p not in killed}
    assert [d.code for d in done.values()] == [0] * len(done), [d.err for d in done.values()]
    wait_until(lambda: not alive(f"--root\0{root.path}"), "the temporary supervisor ends")
    assert root.call("start", "--once").code in (0, 12)
    for n, process in enumerate(callers):
        (manifest,) = root.manifests(f"t{n}")
        expected = ("failed", "worker-lost") if process in killed else ("succeeded", None)
        assert (manifest["status"], manifest["status_detail"]) == expected
        root.check_settled(f"t{n}", count=1)
    assert not root.stages()

"""Odd machines: /proc that hides processes, other namespaces, a stopped supervisor, odd roots."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from supervisor.config.find_root import ROOT_LIMIT_BYTES
from supervisor.report.read import run_tree
from supervisor.report.terminal.run_tree_text import run_tree_lines
from tests.faults.mounts import needs_root
from tests.root import Root, root_in, wait_until
from workers.records import identity
from workers.records.atomic import replace_file, temporary_name, to_bytes
from workers.records.files import make_private
from workers.records.flock import take_flock
from workers.records.identity import Identity, identity_of, is_alive
from workers.records.layout import Layout

needs_namespaces = pytest.mark.skipif(
    shutil.which("unshare") is None or shutil.which("setpriv") is None,
    reason="unshare or setpriv is missing",
)

# A run whose supervisor and worker are killed; the next start settles it and ends its processes.
LOST = """
serve() {
    "$python" -m supervisor start >start.txt 2>&1 & supervisor=$!
    until "$python" -m supervisor status >status.txt 2>&1; grep -q "pid $supervisor" status.txt
    do sleep 0.05; done
}
python=$1
serve
"$python" -m supervisor submit -- sh -c 'echo $$ >stage.pid; exec sleep 600' >submit.txt
until test -s stage.pid; do sleep 0.02; done
read stage <stage.pid
worker=$(awk '{print $4}' /proc/$stage/stat)
kill -9 $supervisor $worker
"$python" -m supervisor start --once >once.txt 2>&1
echo "exit $?"
grep -s '^State' /proc/$stage/status | grep -v zombie
serve
"$python" -m supervisor run -- true && "$python" -m supervisor stop && wait $supervisor
echo "stopped $?"
"""


@needs_root
@needs_namespaces
@pytest.mark.fault("M10")
@pytest.mark.parametrize("options", ["hidepid=2", "subset=pid", "hidepid=1,subset=pid"])
def test_a_proc_that_hides_processes_or_the_boot_id_loses_no_run(root: Root, options: str) -> None:
    root.write("lost.sh", LOST)
    mount = f"mount -t proc -o {options} proc /proc"
    if subprocess.run(["unshare", "-m", "sh", "-c", mount], capture_output=True).returncode:
        pytest.skip(f"/proc cannot be mounted with {options}")
    # Without capabilities root is a user like another: hidepid binds it.
    drop = "setpriv --regid=12345 --clear-groups --bounding-set=-all --inh-caps=-all"
    script = f'{mount} && exec {drop} sh lost.sh "{sys.executable}"'
    done = root.finish(root._popen(["unshare", "-m", "sh", "-c", script], None))
    told = done.out + done.err + root.path.joinpath("once.txt").read_text()
    assert done.out.splitlines() == ["exit 12", "stopped 0"], told
    assert not [line for line in root.log() if line["event"] == "clear_failed"]
    root.check_settled(count=2)


@pytest.mark.fault("M10")
def test_process_1_of_a_container_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    first = identity_of(1)
    assert first is not None
    assert is_alive(first)
    assert not is_alive(Identity(**{**first.to_json(), "start_ticks": first.start_ticks + 1}))
    assert not is_alive(Identity(**{**first.to_json(), "pid": 0}))


@pytest.mark.fault("M10")
def test_without_a_boot_id_processes_are_told_apart_by_host_and_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_: str) -> bytes:
        raise FileNotFoundError

    identity.boot_id.cache_clear()
    monkeypatch.setattr(identity, "read_small", refuse)
    try:
        mine = identity_of(os.getpid())
        assert mine is not None
        assert mine.boot_id == "unknown"
        assert is_alive(mine)
    finally:
        identity.boot_id.cache_clear()


@pytest.mark.fault("M10")
@pytest.mark.parametrize("verb", ["stop", "drain"])
def test_stop_and_drain_wait_for_the_lease_of_a_supervisor_that_cannot_be_seen(
    root: Root, verb: str
) -> None:
    layout = root.layout
    make_private(layout.runs, layout.control)
    fd = take_flock(layout.lease_lock)
    assert fd is not None
    # A supervisor on a host that was renamed, or in another container: no process here is it.
    holder = {"host": "another", "boot_id": "other", "pid": os.getpid(), "start_ticks": 1}
    replace_file(layout.lease, to_bytes({"identity": holder}))
    process = root.popen(verb)
    wait_until(lambda: list(Path(layout.inbox).glob("*.json")), "it has asked")
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=0.5)
    os.unlink(layout.lease)  # it is ending
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=0.5)
    os.close(fd)
    assert root.finish(process).code == 0


@pytest.mark.fault("M12")
@pytest.mark.parametrize("words", [["drain"], ["pause"], ["run", "--", "true"]], ids=str)
def test_commands_that_wait_for_a_stopped_supervisor_say_so(root: Root, words: list[str]) -> None:
    supervisor = root.serving()
    supervisor.send_signal(signal.SIGSTOP)
    process = root.popen(*words)
    assert process.stderr is not None
    line = process.stderr.readline()
    expected = f"waiting: the supervisor (pid {supervisor.pid}) is stopped; 'kill -CONT "
    assert expected in line
    supervisor.send_signal(signal.SIGCONT)
    assert root.finish(process).code == 0
    supervisor.send_signal(signal.SIGTERM)
    root.finish(supervisor)


@pytest.mark.fault("M12")
def test_a_wait_that_nobody_serves_says_so(root: Root) -> None:
    run_id = root.call("submit", "--", "true").out.strip()
    process = root.popen("wait", run_id)
    assert process.stderr is not None
    assert "no supervisor serves" in process.stderr.readline()
    assert root.call("start", "--once").code == 0
    assert root.finish(process).code == 0


@pytest.mark.fault("M13")
def test_sub_pipelines_deeper_than_the_tree_are_named_and_not_called_unreadable(
    root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    links = "".join(
        f"[pipelines.p{n}]\nstages = [{{ id = 's', pipeline = 'p{n + 1}' }}]\n" for n in range(4)
    )
    root.configure(links + "[pipelines.p4]\nstages = [{ id = 's', command = 'true' }]\n")
    assert root.call("run", "p0").code == 0
    monkeypatch.setattr(run_tree, "DEPTH_LIMIT", 3)
    (top,) = (m["run_id"] for m in root.manifests() if m["pipeline_id"] == "p0")
    nodes = list(run_tree.read_tree(root.layout, "default", top).runs())
    assert [(n.pipeline_id, n.status) for n in nodes] == [(f"p{n}", "succeeded") for n in range(4)]
    assert (
        nodes[-1].reason
        == f"more than 3 levels deep; 'supervisor status {nodes[-1].run_id}' shows it"
    )
    text = "\n".join(str(line) for line in run_tree_lines(root.layout, nodes[0]))
    assert "own sub-pipeline" not in text


@pytest.mark.fault("M10")
def test_a_worker_is_adopted_and_cancelled_after_the_host_was_renamed(root: Root) -> None:
    first = root.serving()
    run_id = root.call("submit", "--", "sh", "-c", "touch on; sleep 600").out.strip()
    wait_until((root.path / "on").exists, "the stage runs")
    first.kill()
    first.wait()
    # As if the host had another name when the worker began.
    (journal,) = (root.path / ".runs").rglob("journal.ndjson")
    name = json.dumps(identity.host_name())
    journal.write_text(journal.read_text().replace(f'"host": {name}', '"host": "before"'))
    assert '"host": "before"' in journal.read_text()
    second = root.popen("start")
    wait_until(lambda: [e for e in root.log() if e["event"] == "run_adopted"], "it is adopted")
    (stage,) = (int(p) for p in root.stages() if os.getpgid(int(p)) == int(p))
    assert root.call("cancel", run_id).code == 0
    assert not Path(f"/proc/{stage}").exists() or stage not in root.stages()
    second.send_signal(signal.SIGTERM)
    root.finish(second)
    root.check_settled(count=1)


@pytest.mark.fault("M15")
@pytest.mark.parametrize("words", [["run", "--", "true"], ["status"], ["start", "--once"]], ids=str)
def test_a_root_whose_path_is_too_long_is_refused_with_the_number(
    root: Root, words: list[str]
) -> None:
    path = str(root.path)
    while len(path) <= ROOT_LIMIT_BYTES:
        path = f"{path}/{'é' * 100}"
    done = (
        root.call(*words, "--root", path)
        if words[0] != "run"
        else root.call("run", "--root", path, "--", "true")
    )
    assert done.code == 73
    size = len(os.fsencode(path))
    assert f"is {size} bytes long, but at most {ROOT_LIMIT_BYTES}" in done.err


@pytest.mark.fault("M15")
def test_the_longest_root_has_room_for_the_longest_names(tmp_path: Path) -> None:
    run = Layout("/" * ROOT_LIMIT_BYTES).run_dir("t" * 100, "2025-10-31T22-56-34-431Z-9574035c")
    for path in (run.stage_log(99_999, "s" * 100, "stdout", earlier_try=9_999), run.manifest):
        temporary = os.path.join(os.path.dirname(path), temporary_name(os.path.basename(path)))
        assert max(len(path), len(temporary)) < 4_096


@pytest.mark.fault("M15")
def test_a_root_with_spaces_and_newlines_works(tmp_path: Path) -> None:
    with root_in(tmp_path / "a b\nc\t'\"$(x)") as root:
        root.configure(
            "[pipelines.p]\non_finish = 'pwd > hook.txt'\n"
            "stages = [{ id = 's', command = 'printf %s \"$SUPERVISED_ROOT\"; pwd >&2' }]\n"
        )
        assert root.call("start", "--once", "p").code == 0
        assert root.call("logs", "latest", "--stream", "stdout").out.rstrip("\n") == str(root.path)
        assert (root.path / "hook.txt").read_text() == f"{root.path}\n"
        for words in (["verify"], ["status"], ["show", "latest"], ["report", "latest", "-o", "p"]):
            assert root.call(*words).code == 0, words
        unit = root.call("unit")
        assert (unit.code, "choose another path" in unit.err) == (2, True)
        root.check_settled(count=1)

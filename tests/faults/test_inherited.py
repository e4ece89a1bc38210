"""What a supervisor inherits from whoever starts it: signals, descriptors, a terminal."""

import os
import pty
import signal
import sys

import pytest

from tests.contract.worker.work import SPAWN_IGNORES
from tests.holding import holding, ran, worker_of
from tests.root import Root, wait_until

START = f'exec "{sys.executable}" -m supervisor start --once'


def stage(root: Root, command: str) -> None:
    root.configure(f"[pipelines.p]\nstages = [{{ id = 's', command = '''{command}''' }}]\n")


def output(root: Root) -> str:
    (manifest,) = root.manifests()
    return (root.path / manifest["commands"][0]["log_path"]).read_text()


@pytest.mark.fault("P18")
def test_a_stage_that_exits_7_has_failed_although_our_starter_ignores_children(root: Root) -> None:
    stage(root, "exit 7")
    assert root.finish(root.shell(f"trap '' CHLD; {START} p")).code == 10
    (manifest,) = root.manifests()
    assert manifest["status_detail"] == "stage:s:failed"
    assert manifest["commands"][0]["exit_code"] == 7
    root.check_settled(count=1)


@pytest.mark.fault("P18")
def test_how_a_worker_ended_is_known_although_our_starter_ignores_children(root: Root) -> None:
    holding(root, 1)
    process = root.shell(f"trap '' CHLD; {START} --batch batch.toml")
    wait_until(lambda: len(ran(root)) == 1, "the stage runs")
    os.kill(worker_of(ran(root)[0]), signal.SIGKILL)
    assert root.finish(process).code == 12
    (manifest,) = root.manifests()
    assert "killed by SIGKILL" in manifest["extensions"]["reason"]
    root.check_settled(count=1)


@pytest.mark.fault("P19")
def test_ignored_and_blocked_signals_reach_no_stage_and_term_still_drains(root: Root) -> None:
    show = "grep -E 'Sig(Blk|Ign)' /proc/self/status; touch begun; "
    stage(root, show + "while ! test -e go; do sleep 0.05; done")
    blocked = "import os, signal, sys; signal.pthread_sigmask(signal.SIG_BLOCK, [1, 2, 10, 15]); "
    blocked += "os.execv(sys.argv[1], sys.argv[1:])"
    process = root.shell(
        f"trap '' TERM INT HUP USR1 CHLD; exec \"{sys.executable}\" -c '{blocked}' "
        f'"{sys.executable}" -m supervisor start p'
    )
    wait_until((root.path / "begun").exists, "the stage runs")
    process.send_signal(signal.SIGTERM)
    root.write("go", "")
    assert root.finish(process).code == 143
    for line in output(root).splitlines():
        assert int(line.split()[1], 16) & ~SPAWN_IGNORES == 0, line
    root.check_settled(count=1)


@pytest.mark.fault("P27")
def test_a_descriptor_that_we_inherited_reaches_no_stage(root: Root) -> None:
    stage(root, "ls /proc/$$/fd")
    script = f"exec 7>leaked 8</dev/null; {START} p"
    assert root.finish(root.shell(script)).code == 0
    assert output(root).split() == ["0", "1", "2"]


@pytest.mark.fault("P20")
def test_a_terminal_that_goes_away_costs_no_record(root: Root) -> None:
    holding(root, 3)
    words = [sys.executable, "-m", "supervisor", "start", "--once", "--batch", "batch.toml"]
    pid, terminal = pty.fork()
    if pid == 0:  # in the child, which the terminal controls
        try:
            os.chdir(root.path)
            os.execve(words[0], words, {**os.environ, "XDG_CONFIG_HOME": str(root.path / "xdg")})
        finally:
            os._exit(127)
    wait_until(lambda: len(ran(root)) == 3, "all stages run")
    os.close(terminal)  # SIGHUP, and from now on every write to it fails
    root.write("go", "")

    def ended() -> tuple[int] | None:
        found, status = os.waitpid(pid, os.WNOHANG)
        return (os.waitstatus_to_exitcode(status),) if found else None

    assert wait_until(ended, "the supervisor leaves") == (0,)
    assert not [line for line in root.log() if line["event"].endswith("_failed")]
    root.check_settled(count=3)

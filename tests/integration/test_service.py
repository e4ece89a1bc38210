"""Under systemd: the unit is one, the manager is told, and stages see nothing of it."""

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.errors import UsageError
from supervisor.report.export.systemd_unit import quote, unit_text
from tests.root import Root, short_path, wait_until

ENV = '[pipelines.env]\nstages = [{ id = "s", command = "env" }]\n'


class Manager:
    """What stands behind NOTIFY_SOCKET."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sock.bind(path)
        self._sock.setblocking(False)
        self.heard: list[str] = []

    def hears(self, text: str) -> bool:
        """Tell whether a message came that begins so."""
        try:
            while True:
                self.heard.append(self._sock.recv(4096).decode())
        except BlockingIOError:
            return any(message.startswith(text) for message in self.heard)

    def close(self) -> None:
        self._sock.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    with short_path(tmp_path) as directory:
        made = Manager(f"{directory}/notify")
        yield made
        made.close()


def test_the_manager_is_told_and_no_worker_or_stage_sees_it(root: Root, manager: Manager) -> None:
    root.configure(ENV)
    env = {"NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": "400000"}
    server = root.popen("start", env=env)
    wait_until(lambda: manager.hears("READY=1"), "it is ready")
    wait_until(lambda: manager.hears("WATCHDOG=1"), "the watchdog is fed")
    beats = manager.heard.count("WATCHDOG=1")
    assert root.call("run", "env").code == 0
    wait_until(lambda: manager.hears("STATUS=0 active, 0 queued, 1 done"), "it is told what it did")
    (log,) = (root.path / ".runs/default/cli").glob("*/commands/01-s.stdout.log")
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):
        assert name not in log.read_text()
    manager.heard.remove("READY=1")
    server.send_signal(signal.SIGHUP)
    wait_until(lambda: manager.hears("RELOADING=1\nMONOTONIC_USEC="), "it reloads")
    wait_until(lambda: manager.hears("READY=1"), "it is ready again")
    wait_until(lambda: manager.hears("") and manager.heard.count("WATCHDOG=1") > beats, "it is fed")
    server.send_signal(signal.SIGTERM)
    wait_until(lambda: manager.hears("STOPPING=1"), "it stops")
    root.finish(server)


def verified(text: str, directory: Path) -> str:
    """What systemd-analyze says of a unit, "" where nothing."""
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("there is no systemd-analyze")
    unit = directory / "supervisor-test.service"
    unit.write_text(text)
    done = subprocess.run(
        [program, "--user", "--man=no", "verify", str(unit)],
        env={**os.environ, "XDG_RUNTIME_DIR": str(directory), "HOME": str(directory)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    return f"{done.stdout}{done.stderr}" if done.returncode else ""


def test_systemd_finds_nothing_to_say_of_the_unit(root: Root, tmp_path: Path) -> None:
    done = root.call("unit")
    assert (done.code, done.err) == (0, "")
    assert f'"start" "--root" "{root.path}"' in done.out
    assert verified(done.out, tmp_path) == ""
    broken = done.out.replace('ExecStart="', 'ExecStart="/nowhere')
    assert verified(broken, tmp_path), "a unit that is wrong would be seen"


@pytest.mark.parametrize("name", ["a b", 'quo"te', "per%cent%h", "dol$HOME", "back\\slash", "ü'x;"])
def test_a_path_with_any_character_arrives_as_it_is(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    shutil.copy("/bin/true", folder / "supervisor")
    text = unit_text([str(folder / "supervisor")], str(folder), str(folder / "c.toml"), str(folder))
    assert verified(text, tmp_path) == "", text


def test_what_no_unit_can_say_is_refused() -> None:
    with pytest.raises(UsageError):
        quote("/a\nb")
    with pytest.raises(UsageError):
        quote("/\udcff")


def test_what_stops_the_unit_leaves_the_workers_to_the_next_start(root: Root) -> None:
    root.configure(
        '[pipelines.wait]\nstages = [{ id = "s", command = "while ! test -e go; do sleep 0.05; '
        'done" }]\n'
    )
    server = root.serving()
    run_id = root.call("submit", "wait").out.strip()
    wait_until(root.stages, "it runs")
    (line,) = [x for x in root.call("unit").out.splitlines() if x.startswith("ExecStop=")]
    words = line.removeprefix("ExecStop=")
    assert root.finish(root.shell(words)).code == 0
    root.finish(server)
    assert root.stages()
    root.write("go", "")
    assert root.call("start", "--once").code == 0
    assert root.manifests()[0]["run_id"] == run_id
    root.check_settled(count=1)

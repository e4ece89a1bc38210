"""A root in a temporary directory, and the command line as its users call it."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from supervisor.report.verify.verify_root import verify
from workers.records.atomic import TORN
from workers.records.layout import Layout
from workers.records.proc import proc_stat

DEADLINE_S = 60.0  # sized for two busy cores; a healthy test needs a second or two

LAUNCHER = os.environ.get("TEST_LAUNCHER", "zygote")
"""How workers are started; the whole suite passes with each."""

SETTINGS = """\
[supervisor]
heartbeat_interval_s = 0.1
heartbeat_stale_after_s = 1.0
hung_after_s = 30.0
manifest_throttle_s = 0.5
grace_s = 1.0
lock_delay_s = 0.02
lock_max_delay_s = 0.05
"""


def wait_until(true: Callable[[], Any], what: str, deadline_s: float = DEADLINE_S) -> Any:
    """Wait for something, in short looks with a long limit; returns what it was."""
    until = time.monotonic() + deadline_s
    while not (value := true()):
        assert time.monotonic() < until, f"not within {deadline_s} s: {what}"
        time.sleep(0.01)
    return value


def alive(marker: str) -> list[int]:
    """Processes that carry a text in their environment or command line and are no zombies."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            text = Path("/proc", name, "environ").read_bytes()
            text += Path("/proc", name, "cmdline").read_bytes()
        except OSError:
            continue
        stat = proc_stat(int(name))
        if os.fsencode(marker) in text and stat is not None and not stat.has_ended:
            found.append(int(name))
    return found


@contextmanager
def short_path(directory: Path) -> Iterator[str]:
    """A short path of a directory, for sockets: their paths have at most 107 characters."""
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/{os.getpid()}/fd/{fd}"
    finally:
        os.close(fd)


def _environ(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:  # it has ended
        return b""


def kill_all(marker: str) -> None:
    """Kill what ``alive`` finds, until it finds nothing."""

    def end() -> bool:
        left = alive(marker)
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        return not left

    wait_until(end, f"every process of {marker} is gone")


def without_module(name: str, directory: Path) -> dict[str, str]:
    """An environment in which a module is not installed, whether it is or not."""
    directory.mkdir(parents=True, exist_ok=True)
    site = directory / "sitecustomize.py"
    site.write_text(f"import sys\nsys.modules[{name!r}] = None\n")
    return {"PYTHONPATH": str(directory)}


@dataclass
class Done:
    """What a command printed and how it ended."""

    code: int
    out: str
    err: str

    def json(self) -> dict[str, Any]:
        """The one object that was printed."""
        value: dict[str, Any] = json.loads(self.out)
        return value

    def json_lines(self) -> list[dict[str, Any]]:
        """The objects that were printed, one per line."""
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass
class Root:
    """One root. ``path`` is its directory."""

    path: Path
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def layout(self) -> Layout:
        return Layout(str(self.path))

    def write(self, name: str, text: str) -> Path:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def configure(self, pipelines: str = "", settings: str = "", launcher: str = LAUNCHER) -> None:
        self.write(
            "config/supervisor.toml",
            SETTINGS + f'launcher = "{launcher}"\n' + settings + "\n" + pipelines,
        )

    def popen(
        self, *words: str, env: Mapping[str, str] | None = None, under: Sequence[str] = ()
    ) -> subprocess.Popen[str]:
        """Start a command, ``under`` another; at the end of the test it is killed."""
        return self._popen([*under, sys.executable, "-m", "supervisor", *words], env)

    def shell(self, script: str) -> subprocess.Popen[str]:
        """Start a shell script, as ``popen``."""
        return self._popen(["/bin/sh", "-c", script], None)

    def _popen(self, words: list[str], env: Mapping[str, str] | None) -> subprocess.Popen[str]:
        clean = {k: v for k, v in os.environ.items() if not k.startswith("SUPERVIS")}
        process = subprocess.Popen(
            words,
            cwd=self.path,
            env={**clean, "XDG_CONFIG_HOME": str(self.path / "xdg"), **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def finish(self, process: subprocess.Popen[str]) -> Done:
        out, err = process.communicate(timeout=DEADLINE_S)
        return Done(process.returncode, out, err)

    def call(
        self, *words: str, env: Mapping[str, str] | None = None, under: Sequence[str] = ()
    ) -> Done:
        """Run a command to its end."""
        return self.finish(self.popen(*words, env=env, under=under))

    def state(self, task: str = "default") -> dict[str, Any]:
        value: dict[str, Any] = json.loads((self.path / f"out/{task}/state.json").read_text())
        return value

    def history(self, task: str = "default") -> list[dict[str, Any]]:
        text = (self.path / f"out/{task}/history.ndjson").read_text()
        return [json.loads(line) for line in text.splitlines()]

    def manifests(self, task: str = "default") -> list[dict[str, Any]]:
        """The manifests of a task, by run id."""
        paths = sorted((self.path / f".runs/{task}/cli").glob("[!.]*/manifest.json"))
        return [json.loads(path.read_text()) for path in paths]

    def events(self, run_id: str, task: str = "default") -> list[dict[str, Any]]:
        path = self.path / f".runs/{task}/cli/{run_id}/journal.ndjson"
        lines = path.read_bytes().splitlines(keepends=True)
        return [json.loads(line) for line in lines if not line.endswith(TORN)]

    def log(self) -> list[dict[str, Any]]:
        path = self.path / ".runs/.supervisor/supervisor.log"
        return [json.loads(line) for line in path.read_text().splitlines()]

    def stages(self) -> list[int]:
        """The living processes of this root's stages."""
        return alive(f"SUPERVISED_ROOT={self.path}")

    def running(self) -> set[str]:
        """The runs with a living process of a stage; a stage may have many processes."""
        environs = (_environ(pid) for pid in self.stages())
        ids = (re.search(rb"(?:^|\0)SUPERVISED_RUN_ID=([^\0]*)", text) for text in environs)
        return {found[1].decode() for found in ids if found is not None}

    def serving(self) -> "subprocess.Popen[str]":
        """Start a supervisor that stays, and wait until it serves."""
        process = self.popen("start")
        wait_until((self.path / ".runs/.supervisor/status.json").exists, "the supervisor serves")
        return process

    def stop(self, process: "subprocess.Popen[str]") -> None:
        """End a supervisor that stays, as an operator does."""
        assert self.call("stop").code == 0
        self.finish(process)

    def wait_for_status(self, run_id: str, status: str, task: str = "default") -> None:
        def has_it() -> bool:
            for manifest in self.manifests(task):
                if manifest["run_id"] == run_id:
                    return bool(manifest["status"] == status)
            return False

        wait_until(has_it, f"{run_id} is {status}")

    def check_settled(
        self, task: str = "default", count: int | None = None, *, damaged: int = 0
    ) -> None:
        """The invariants that hold whenever nothing runs; ``damaged`` specs a test has broken."""
        manifests, history, state = self.manifests(task), self.history(task), self.state(task)
        ids = [line["runId"] for line in history]
        assert len(ids) == len(set(ids)), "a run is in the history twice"
        assert {m["run_id"] for m in manifests} == set(ids)
        assert [line["runId"] for line in state["runs"]] == ids[-1000:]
        assert state["totals"]["runs"] == len(ids)
        statuses = {line["runId"]: line["status"] for line in history}
        for manifest in manifests:
            assert manifest["status"] == statuses[manifest["run_id"]]
            verdicts = [e for e in self.events(manifest["run_id"], task) if e["event"] == "verdict"]
            assert len(verdicts) == 1
        if count is not None:
            assert len(ids) == count
        assert os.listdir(self.layout.accepted) == []
        assert len(list(verify(self.layout))) == damaged
        left = [p for p in self.path.rglob("*.tmp")]
        assert not left, f"temporary files are left: {left}"
        for path in (self.path / ".runs").rglob("*"):
            mode = path.stat().st_mode & 0o777
            assert mode == (0o700 if path.is_dir() else 0o600), f"{path} has mode {mode:o}"


@contextmanager
def root_in(path: Path) -> Iterator[Root]:
    """A root whose processes are all gone at the end, whatever the test did."""
    path.mkdir(parents=True, exist_ok=True)
    root = Root(path)
    root.configure()
    try:
        yield root
    finally:
        for process in root.started:
            if process.poll() is None:
                process.kill()
        for process in root.started:
            process.communicate()

        kill_all(str(path))

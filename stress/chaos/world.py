"""The root under chaos: commands as users call them, and processes by role."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from stress.chaos.pipelines import write_config
from stress.chaos.tools import Disk, WallClock
from workers.records.identity import send_signal
from workers.records.ids import is_run_id
from workers.records.layout import Layout
from workers.records.proc import proc_stat

CLIENTS_LIMIT: Final = 4  # commands at once: each costs a fifth of a second of one core
_POLL_EVERY_S: Final = 0.02
_CLOSE_WITHIN_S: Final = 10.0
_HOSTS: Final = (b"supervisor host ", b"workers ")  # of a run that its caller hosts
_PROGRAM: Final = (sys.executable, "-m", "supervisor")


@dataclass(frozen=True, slots=True)
class Process:
    """One living process of the root."""

    pid: int
    start_ticks: int
    role: str

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to this process, never to a later one with its pid."""
        send_signal(self.pid, self.start_ticks, number)


@dataclass(slots=True)
class Client:
    """A started command; ``killed``: by us."""

    argv: tuple[str, ...]
    process: "subprocess.Popen[str]"
    said: str
    killed: bool = False


@dataclass(slots=True)
class World:
    """Everything that chaos acts on.

    Args:
        directory: an existing empty directory.
        seed: of all random choices.
    """

    directory: str
    seed: int
    chance: random.Random = field(init=False)
    disk: Disk = field(init=False)
    clock: WallClock = field(init=False)
    layout: Layout = field(init=False)
    marks: str = field(init=False)
    said: list[str] = field(default_factory=list, init=False)
    acknowledged: set[str] = field(default_factory=set, init=False)
    exits: dict[str, set[int]] = field(default_factory=dict, init=False)
    clients: list[Client] = field(default_factory=list, init=False)
    later: list[tuple[float, Callable[[], None]]] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.disk = Disk(os.path.join(self.directory, "disk"))
        self.clock = WallClock(self.directory)
        self.layout = Layout(os.path.join(self.disk.path, "root"))
        self.marks = os.path.join(self.directory, "marks")

    def open(self) -> None:
        """Mount the disk and create the root; ``close`` undoes it, even if this fails half way."""
        os.mkdir(self.disk.path)
        self.disk.mount()
        os.mkdir(self.layout.root, 0o700)
        write_config(self.layout.root, self.marks)

    def command(self, *argv: str, serving: bool = False) -> Client:
        """Start a command with the changeable clock, which supervisors pass on to workers."""
        name = os.path.join(self.directory, f"said-{len(self.said)}")
        self.said.append(name)
        clean = {key: value for key, value in os.environ.items() if not key.startswith("SUPERVIS")}
        env = {**clean, "XDG_CONFIG_HOME": self.directory, **self.clock.environment}
        with open(name, "w", encoding="utf-8") as err:
            process = subprocess.Popen(
                [*_PROGRAM, argv[0], "--root", self.layout.root, *argv[1:]],
                cwd=self.directory,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL if serving else subprocess.PIPE,
                stderr=err,
                text=True,
            )
        client = Client(argv, process, name)
        self.clients.append(client)
        return client

    def call(self, *argv: str, within_s: float) -> int | None:
        """Run a command to its end; return its exit code, or None after a timeout."""
        client = self.command(*argv, serving=True)
        try:
            return client.process.wait(within_s)
        except subprocess.TimeoutExpired:
            return None
        finally:
            self.end(client)

    def collect(self) -> None:
        """Collect commands that have ended; ids printed by ``submit`` are acknowledged."""
        for client in list(self.clients):
            if client.process.poll() is not None:
                self.end(client)

    def end(self, client: Client) -> None:
        """Kill a command if it is running, and note its exit code."""
        if client.process.poll() is None:
            client.killed = True
            client.process.kill()
        out, _ = client.process.communicate()
        if client in self.clients:
            self.clients.remove(client)
        if client.argv[0] == "submit" and out and is_run_id(out.strip()):
            self.acknowledged.add(out.strip())
        if not client.killed and client.process.returncode >= 0:
            self.exits.setdefault(client.argv[0], set()).add(client.process.returncode)

    def due(self) -> None:
        """Run delayed actions that are due."""
        now = time.monotonic()
        for item in list(self.later):
            if item[0] <= now:
                self.later.remove(item)
                item[1]()

    def run_delayed(self) -> None:
        """Run all delayed actions now."""
        for _, action in self.later:
            action()
        self.later.clear()

    def processes(self, *roles: str) -> list[Process]:
        """The living processes with one of these roles: supervisor, worker, stage, host."""
        return sorted(
            (found for found in self._all() if not roles or found.role in roles),
            key=lambda found: found.pid,
        )

    def _all(self) -> Iterator[Process]:
        root = self.layout.root
        for name in os.listdir("/proc"):
            if not name.isdigit() or int(name) == os.getpid():
                continue
            argv = _read(name, "cmdline").split(b"\0")
            role = None
            if b"-m" in argv[:3] and b"workers" in argv[:4] and _below(argv, f"{root}/.runs/"):
                role = "worker"
            elif b" ".join(argv).startswith(_HOSTS) and _below(argv, f"{root}/.runs/"):
                role = "host"
            elif root.encode() in argv and b"start" in argv:
                role = "supervisor"
            elif f"SUPERVISED_ROOT={root}".encode() in _read(name, "environ").split(b"\0"):
                role = "stage"
            elif root.encode() in argv:
                role = "client"  # interrupted while it was started, so that no list has it
            stat = proc_stat(int(name)) if role else None
            if role and stat is not None and stat.state not in "ZX":
                yield Process(int(name), stat.start_ticks, role)

    def kill_all(self, within_s: float = 10.0) -> None:
        """Kill every process of the root."""
        for client in list(self.clients):
            self.end(client)
        until = time.monotonic() + within_s
        while (left := self.processes()) and time.monotonic() < until:
            for found in left:
                found.signal(signal.SIGKILL)
            time.sleep(_POLL_EVERY_S)

    def copy_root(self) -> None:
        """Copy the root to the directory, before its file system is unmounted."""
        kept = os.path.join(self.directory, "root")
        subprocess.run(["cp", "-a", self.layout.root, kept], check=True)

    def close(self) -> None:
        """Kill all processes and unmount the disk.

        A process that was just started is recognised a moment later.
        """
        until = time.monotonic() + _CLOSE_WITHIN_S
        while True:
            self.kill_all()
            try:
                return self.disk.unmount()
            except subprocess.CalledProcessError:
                if time.monotonic() >= until:
                    raise
            time.sleep(_POLL_EVERY_S)


def _read(pid: str, name: str) -> bytes:
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:
            return file.read()
    except OSError:  # gone, or of another user
        return b""


def _below(argv: list[bytes], path: str) -> bool:
    return any(word.startswith(path.encode()) for word in argv)

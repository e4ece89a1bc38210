"""Hosts for tests: each has its own name, process ids, mounts and network, and shares the folder.

They share kernel and boot id too, as containers of one machine do.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.root import kill_all, wait_until

HERE = Path(__file__).parent
UNSHARE = ("unshare", "--uts", "--pid", "--net", "--fork", "--mount-proc")


def missing() -> str | None:
    """Why hosts cannot be created here; None if they can."""
    try:
        done = subprocess.run([*UNSHARE, "true"], capture_output=True, timeout=60, check=False)
    except FileNotFoundError:
        return "no hosts can be created here: unshare is not installed"
    if done.returncode:
        return f"no hosts can be created here: {done.stderr.decode().strip()}"
    return None


@dataclass
class Host:
    """A host. ``name`` is its host name; its daemon reads ``spool``."""

    name: str
    spool: Path
    process: "subprocess.Popen[bytes]"

    @property
    def init(self) -> int:
        """Its first process, as we see it."""
        text = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return int(text.split()[0])

    def entering(self, folder: str = "/") -> list[str]:
        """The prefix of a command that runs there."""
        kinds = ["--uts", "--pid", "--net", "--mount"]
        return ["nsenter", f"--target={self.init}", *kinds, "--", "env", "-C", folder]

    def pids(self) -> list[int]:
        """All its processes, as we see them."""
        mine = os.readlink(f"/proc/{self.init}/ns/pid")
        found = []
        for name in filter(str.isdigit, os.listdir("/proc")):
            with suppress(OSError):
                if os.readlink(f"/proc/{name}/ns/pid") == mine:
                    found.append(int(name))
        return found

    def inside(self, pid: int) -> int:
        """Our pid of the process that has this pid on the host."""
        for found in self.pids():
            with suppress(OSError):
                status = Path(f"/proc/{found}/status").read_text()
                if status.partition("\nNSpid:")[2].split("\n")[0].split()[-1] == str(pid):
                    return found
        raise AssertionError(f"host {self.name} has no process {pid}")

    def call(self, *words: str) -> str:
        """Run a command there and return its output."""
        done = subprocess.run(
            [*self.entering(), *words], capture_output=True, text=True, timeout=60, check=True
        )
        return done.stdout

    def number_next(self, pid: int) -> None:
        """Let the next process that is created there have this pid."""
        self.call("sh", "-c", f"echo {pid - 1} > /proc/sys/kernel/ns_last_pid")

    def pause(self) -> None:
        """Stop all of it at once, as a host that swaps, or whose folder hangs."""
        for pid in self.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        wait_until(lambda: all(_is_stopped(pid) for pid in self.pids()), "the host is frozen")

    def resume(self) -> None:
        for pid in self.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def kill(self) -> None:
        """The kernel kills all that a namespace holds when its first process ends."""
        os.kill(self.init, signal.SIGKILL)
        self.process.wait()


def _is_stopped(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "TtZX"
    except OSError:
        return True


@contextmanager
def hosts(spools: Path, names: Sequence[str]) -> Iterator[list[Host]]:
    """Hosts by these names, or a skip with the reason; all are removed at the end."""
    reason = missing()
    if reason is not None:
        pytest.skip(reason)
    made: list[Host] = []
    try:
        for number, name in enumerate(names):
            spool = spools / f"{number}-{name}"
            spool.mkdir(parents=True)
            words = [*UNSHARE, sys.executable, str(HERE / "host_daemon.py"), str(spool), name]
            process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            made.append(Host(name, spool, process))
            wait_until((spool / "ready").exists, f"host {name} is up")
        yield made
    finally:
        kill_all(str(spools))
        for host in made:
            host.process.wait()

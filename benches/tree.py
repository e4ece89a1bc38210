"""The process tree of one measurement: its CPU, and its end.

A cgroup counts the CPU exactly, if one can be created. Otherwise this process is a subreaper and
counts the processes that it has waited for, so the CPU is known only when all have ended.
"""

import contextlib
import os
import resource
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from benches.group import Group, make_group
from workers.processes.process_attributes import become_subreaper

SETTLE_S = 30.0


class Tree:
    """The processes of one measurement.

    Args:
        group: its cgroup; None if none can be created.
    """

    def __init__(self, group: Group | None) -> None:
        self._group = group
        self._before = _children(os.getpid())
        self._waited_s = _waited_s()
        self._started: list[subprocess.Popen[bytes]] = []
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process

    def start(
        self, argv: Sequence[str], cwd: Path, *, env: Mapping[str, str] | None = None
    ) -> "subprocess.Popen[bytes]":
        """Start a command in the tree; discard stdout, store stderr."""
        process = subprocess.Popen(
            argv,
            cwd=cwd,
            env={**clean_environment(), **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._stderr,
            preexec_fn=None if self._group is None else self._group.enter,
        )
        self._started.append(process)
        return process

    def complaints(self) -> str:
        """The end of the stderr of its commands."""
        self._stderr.seek(0)
        return self._stderr.read().decode(errors="replace")[-500:]

    def cpu_s(self) -> float:
        """CPU of the tree so far; without a cgroup, of the ended processes."""
        if self._group is None:
            return _waited_s() - self._waited_s
        return self._group.cpu_s()

    def settle(self) -> None:
        """Wait for the remaining processes.

        Raises:
            RuntimeError: a process does not end; ``close`` kills it.
        """
        until = time.monotonic() + SETTLE_S
        while left := _children(os.getpid()) - self._before:
            for pid in left:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
            if time.monotonic() > until:
                names = [_name(pid) for pid in left]
                raise RuntimeError(f"still there after {SETTLE_S:g} s: {', '.join(names)}")
            time.sleep(0.001)

    def close(self) -> None:
        """Kill all remaining processes."""
        until = time.monotonic() + SETTLE_S
        while (left := _children(os.getpid()) - self._before) and time.monotonic() < until:
            for pid in left:
                for one in [pid, *descendants(pid)]:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(one, signal.SIGKILL)
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, 0)
        for process in self._started:
            process.wait()  # the process has ended
        self._stderr.close()


@contextmanager
def tree() -> Iterator[Tree]:
    """A new tree; remaining processes are killed at the end."""
    become_subreaper()
    group = make_group()
    made = Tree(group)
    try:
        yield made
    finally:
        made.close()
        if group is not None:
            group.remove()


def clean_environment() -> dict[str, str]:
    """Our environment without variables that configure a supervisor or disable its caches."""
    drop = ("SUPERVIS", "PYTHON", "XDG_CONFIG")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(drop)}
    return {**kept, "XDG_CONFIG_HOME": "/nonexistent"}


def descendants(pid: int) -> list[int]:
    """All descendants of a process, nearest first."""
    found = sorted(_children(pid))
    for one in found:
        found += sorted(_children(one))
    return found


def _children(pid: int) -> set[int]:
    found: set[int] = set()
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            argv = Path(f"/proc/{pid}/task/{thread}/children").read_text().split()
            found.update(int(word) for word in argv)
    return found


def _name(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").strip()
    return str(pid)


def _waited_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime

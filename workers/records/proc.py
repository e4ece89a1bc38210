"""Processes as the kernel shows them in /proc/PID/stat."""

import os
from typing import Final

from workers.records.dataclass import dataclass

_LIMIT_BYTES: Final = 4096  # a line of /proc is shorter


@dataclass(frozen=True, slots=True)
class ProcStat:
    """Fields of /proc/PID/stat: state letter, parent's pid, group, session, start ticks.

    ``threads_count`` is at least 1. The kernel shows state Z also for a process whose first thread
    has ended while others still run; ``has_ended`` tells the two apart.
    """

    state: str
    ppid: int
    pgid: int
    sid: int
    threads_count: int
    start_ticks: int

    @property
    def has_ended(self) -> bool:
        """A zombie or dead: no thread of it runs any more."""
        return self.state in "ZX" and self.threads_count <= 1

    @property
    def is_stopped(self) -> bool:
        """Stopped by a signal (SIGSTOP, Ctrl-Z) or by a debugger."""
        return self.state in "Tt"


def read_small(path: str) -> bytes:
    """Read a small file of /proc at a fifth of the cost of ``open``; raises as os.open."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, _LIMIT_BYTES)
    finally:
        os.close(fd)


def proc_stat(pid: int) -> ProcStat | None:
    """Read a process's state; None if it does not exist or is not visible.

    A /proc mounted with hidepid hides processes of other users, also ours that changed their user.
    """
    try:
        rest = read_small(f"/proc/{pid}/stat").rpartition(b") ")[2].split()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    if len(rest) < 20:
        return None
    ppid, pgid, sid = map(int, rest[1:4])
    return ProcStat(rest[0].decode(), ppid, pgid, sid, int(rest[17]), int(rest[19]))


def is_running(pid: int, start_ticks: int) -> bool:
    """Whether the process of this boot that started at ``start_ticks`` has not ended."""
    stat = proc_stat(pid)
    return stat is not None and stat.start_ticks == start_ticks and not stat.has_ended

"""What the kernel tells of a process, in /proc/PID/stat."""

import os
from typing import Final

from workers.records.dataclass import dataclass

_LIMIT_BYTES: Final = 4096  # a line of /proc is shorter


@dataclass(frozen=True, slots=True)
class ProcStat:
    """What /proc/PID/stat says: state letter, parent's pid, process group, session, start ticks.

    ``threads_count`` is at least 1; ``has_ended`` tells a zombie from a process whose first thread
    has ended while others go on, which the kernel shows as Z too.
    """

    state: str
    ppid: int
    pgid: int
    sid: int
    threads_count: int
    start_ticks: int

    @property
    def has_ended(self) -> bool:
        """A zombie or dead: nothing of it runs any more."""
        return self.state in "ZX" and self.threads_count <= 1

    @property
    def is_stopped(self) -> bool:
        """Stopped by a signal (SIGSTOP, Ctrl-Z), or by a debugger."""
        return self.state in "Tt"


def read_small(path: str) -> bytes:
    """Read a small file of /proc, for a fifth of what ``open`` costs; OSError as os.open."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, _LIMIT_BYTES)
    finally:
        os.close(fd)


def proc_stat(pid: int) -> ProcStat | None:
    """Read a process's state; None if there is no such process, or none that we may see.

    A /proc mounted with hidepid hides the processes of other users; none of ours is among them,
    save one that became another user's.
    """
    try:
        rest = read_small(f"/proc/{pid}/stat").rpartition(b") ")[2].split()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    if len(rest) < 20:
        return None
    ppid, pgid, sid = (int(word) for word in rest[1:4])
    return ProcStat(rest[0].decode(), ppid, pgid, sid, int(rest[17]), int(rest[19]))


def is_running(pid: int, start_ticks: int) -> bool:
    """Tell whether a process of this boot is the one meant, and neither a zombie nor dead."""
    stat = proc_stat(pid)
    return stat is not None and stat.start_ticks == start_ticks and not stat.has_ended

"""Finding and killing the processes below one, also if they fork faster than they are found.

Signals go to proven processes only, through a pidfd.
"""

import contextlib
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from workers.records.files import read_bytes
from workers.records.identity import open_pidfd, send_signal
from workers.records.proc import ProcStat, proc_stat

_PIDFD_SIGNAL_PROCESS_GROUP: Final = 4  # linux/pidfd.h, since 6.9; older kernels return EINVAL
_STORM_ROUNDS_COUNT: Final = 50  # each stops the processes that the previous one missed

Process = tuple[int, int]  # pid and start ticks: unique also when pids are reused


def descendants(of_pid: int) -> Iterator[Process]:
    """Every living process below one, parents before children."""
    waiting = children(of_pid)
    for pid in waiting:
        stat = proc_stat(pid)
        if stat is None:
            continue
        if not stat.has_ended:
            yield pid, stat.start_ticks
        waiting += children(pid)


def children(pid: int) -> list[int]:
    """The pids of a process's children, including zombies; complete for the calling process."""
    pids: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                pids += map(int, file.read().split())
    except (ProcessLookupError, PermissionError):  # it ended, or became another user's
        return pids
    except FileNotFoundError:  # the thread ended, or this kernel has no such file
        return pids if os.path.exists("/proc/thread-self/children") else _children_by_scan(pid)
    return pids


def _children_by_scan(pid: int) -> list[int]:
    pids = [int(name) for name in os.listdir("/proc") if name.isdecimal()]
    return [other for other in pids if (stat := proc_stat(other)) and stat.ppid == pid]


def environment(pid: int, stat: ProcStat) -> bytes:
    """The environment that a process was started with; empty if it may not be read."""
    with contextlib.suppress(OSError):
        if stat.state != "Z":
            return read_bytes(f"/proc/{pid}/environ")
        for thread in os.listdir(f"/proc/{pid}/task"):  # its first thread has ended and has none
            if environ := read_bytes(f"/proc/{pid}/task/{thread}/environ"):
                return environ
    return b""


def kill_all(find: Callable[[], Iterable[Process]]) -> set[Process]:
    """Kill processes, also if they fork faster than they are found.

    Each one is stopped when it is found, and its group is killed if it leads one, until a round
    finds no new one; then all are killed. Call again until nothing is found.

    Args:
        find: lists the processes once.

    Returns:
        Every process that was found; empty if nothing is left.
    """
    found: set[Process] = set()
    for _ in range(_STORM_ROUNDS_COUNT):
        known_count = len(found)
        for process in find():
            if process not in found:
                found.add(process)
                _stop(*process)
        if len(found) == known_count:
            break
    for pid, ticks in found:
        send_signal(pid, ticks, signal.SIGKILL)
    return found


def _stop(pid: int, ticks: int) -> None:
    """Stop one process; if it leads a group of its own, kill that group at once."""
    fd = open_pidfd(pid, ticks)
    if fd is None:
        return
    try:
        with contextlib.suppress(OSError):
            signal.pidfd_send_signal(fd, signal.SIGSTOP)
        stat = proc_stat(pid)
        leads = stat is not None and stat.start_ticks == ticks and stat.pgid == pid
        if leads and pid != os.getpgrp():  # a stage may have started this process
            kill_group(fd)
    finally:
        os.close(fd)


def reason_alive(pid: int) -> str:
    """Why a process survives: it may not be signalled, or does not end."""
    try:
        uid = os.stat(f"/proc/{pid}").st_uid
        os.kill(pid, 0)
    except PermissionError:
        return f"process {pid} of uid {uid} may not be signalled by uid {os.geteuid()}; left alive"
    except OSError:
        return f"process {pid} has ended since"
    return f"process {pid} did not end when it was killed; left alive"


def kill_group(leader_fd: int) -> None:
    """Kill a whole process group at once, so that no process forks away meanwhile.

    Args:
        leader_fd: pidfd of the group's leader, which may have ended.
    """
    with contextlib.suppress(OSError):  # the group is empty, or the kernel is too old
        signal.pidfd_send_signal(leader_fd, signal.SIGKILL, None, _PIDFD_SIGNAL_PROCESS_GROUP)

"""Finding and killing processes below one, also where they fork faster than one can look.

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

_PIDFD_SIGNAL_PROCESS_GROUP: Final = 4  # linux/pidfd.h, since 6.9; older kernels say EINVAL
_STORM_ROUNDS_COUNT: Final = 50  # each stops what the one before did not see yet

Process = tuple[int, int]  # pid and start ticks: which process is meant, also when pids are reused


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
    """The pids of a process's children, zombies included; of our own, none is missed."""
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                found += [int(word) for word in file.read().split()]
    except (ProcessLookupError, PermissionError):  # it ended, or became another user's
        return found
    except FileNotFoundError:  # the thread ended, or this kernel has no such file
        return found if os.path.exists("/proc/thread-self/children") else _children_by_scan(pid)
    return found


def _children_by_scan(pid: int) -> list[int]:
    found = []
    for name in os.listdir("/proc"):
        if name.isdecimal():
            stat = proc_stat(int(name))
            if stat is not None and stat.ppid == pid:
                found.append(int(name))
    return found


def environment(pid: int, stat: ProcStat) -> bytes:
    """The environment that a process was started with, empty where it may not be read."""
    with contextlib.suppress(OSError):
        if stat.state != "Z":
            return read_bytes(f"/proc/{pid}/environ")
        for thread in os.listdir(f"/proc/{pid}/task"):  # its first thread has ended and has none
            if found := read_bytes(f"/proc/{pid}/task/{thread}/environ"):
                return found
    return b""


def kill_all(find: Callable[[], Iterable[Process]]) -> set[Process]:
    """Kill what is found, also where it forks faster than we can look.

    Each process is stopped at once, and its group killed where it leads one, round by round until
    no new one shows up; then all are killed. Call again until nothing is found.

    Args:
        find: looks once.

    Returns:
        Everything that was found; empty means that nothing is left.
    """
    found: set[Process] = set()
    for _ in range(_STORM_ROUNDS_COUNT):
        new_count = len(found)
        for process in find():
            if process not in found:
                found.add(process)
                _stop(*process)
        if len(found) == new_count:
            break
    for pid, ticks in found:
        send_signal(pid, ticks, signal.SIGKILL)
    return found


def _stop(pid: int, ticks: int) -> None:
    """Stop one process; if it leads a group of its own, kill that whole group at once."""
    fd = open_pidfd(pid, ticks)
    if fd is None:
        return
    try:
        with contextlib.suppress(OSError):
            signal.pidfd_send_signal(fd, signal.SIGSTOP)
        stat = proc_stat(pid)
        leads = stat is not None and stat.start_ticks == ticks and stat.pgid == pid
        if leads and pid != os.getpgrp():  # a stage may have started us
            kill_group(fd)
    finally:
        os.close(fd)


def reason_alive(pid: int) -> str:
    """Why a process outlives the killing, in words: it may not be signalled, or does not end."""
    try:
        uid = os.stat(f"/proc/{pid}").st_uid
        os.kill(pid, 0)
    except PermissionError:
        return f"process {pid} of uid {uid} may not be signalled by uid {os.geteuid()}; left alive"
    except OSError:
        return f"process {pid} has ended since"
    return f"process {pid} did not end when it was killed; left alive"


def kill_group(leader_fd: int) -> None:
    """Kill a whole process group at once, so that nobody forks away meanwhile.

    Args:
        leader_fd: pidfd of the process that leads it, also when it has ended.
    """
    with contextlib.suppress(OSError):  # nobody is in it any more, or the kernel is too old
        signal.pidfd_send_signal(leader_fd, signal.SIGKILL, None, _PIDFD_SIGNAL_PROCESS_GROUP)

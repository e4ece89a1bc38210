"""Keeping hold of everything that a stage starts.

The worker is a child subreaper: whatever daemonizes, double forks or changes its session comes back
to it when its parent ends. So the proof that nothing of a stage is left is that the worker has no
child at all, and what is left can be found by walking down from it. Signals go to proven processes
only, through a pidfd.
"""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from workers.records.identity import open_pidfd, send_signal
from workers.records.proc import proc_stat

GIVE_UP_S: Final = 10.0  # fault P28: what survives SIGKILL this long is listed and left
KILL_EVERY_S: Final = 0.05
_PIDFD_SIGNAL_PROCESS_GROUP: Final = 4  # linux/pidfd.h, since 6.9; older kernels say EINVAL
_STORM_ROUNDS_COUNT: Final = 50  # each stops what the one before did not see yet
_REAP_LIMIT_COUNT: Final = 10_000  # at once; a fork storm must not keep us from looking up

Process = tuple[int, int]  # pid and start ticks: which process is meant, also when pids are reused


def reap_orphans(spare_pid: int) -> None:
    """Reap every zombie child but one, whose status somebody still wants."""
    for _ in range(_REAP_LIMIT_COUNT):
        try:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if found is None or found.si_pid == spare_pid:
                return  # the spared one hides others until it is reaped, which is soon
            os.waitpid(found.si_pid, os.WNOHANG)
        except ChildProcessError:
            return


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
    except ProcessLookupError:
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


class Containment:
    """Ends what is below us, until nothing is left but what cannot be killed."""

    def __init__(self) -> None:
        self._given_up: set[Process] = set()

    def living(self) -> list[Process]:
        """Every living process below us, save those that were given up."""
        return [process for process in descendants(os.getpid()) if process not in self._given_up]

    def is_empty(self) -> bool:
        """Tell whether nothing of a stage is left. Zombies count: reap them first."""
        try:
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return True
        return bool(self._given_up) and not self.living()

    def ask_to_end(self) -> list[int]:
        """SIGTERM to everything below us, and SIGCONT so that what is stopped can obey.

        Returns:
            The pids that were found. One that changes its parent at this moment may be missed.
        """
        found = self.living()
        for pid, ticks in found:
            send_signal(pid, ticks, signal.SIGTERM)
            send_signal(pid, ticks, signal.SIGCONT)
        return [pid for pid, _ in found]

    def kill(self, leader_fd: int | None = None) -> list[int]:
        """Kill everything below us.

        The kernel kills a whole process group at once, so nobody forks away meanwhile; for what
        left its group see ``kill_all``.

        Args:
            leader_fd: pidfd of the process that leads the stage's group, also when it has ended.

        Returns:
            The pids that were found.
        """
        if leader_fd is not None:
            _kill_group(leader_fd)
        return [pid for pid, _ in kill_all(self.living)]

    def give_up(self) -> list[int]:
        """Count no more on the end of what is alive now; returns its pids."""
        alive = self.living()
        self._given_up.update(alive)
        return [pid for pid, _ in alive]

    def given_up_pids(self) -> list[int]:
        """Those that were given up and are alive to this hour."""
        if not self._given_up:
            return []
        return sorted({pid for pid, _ in self._given_up.intersection(descendants(os.getpid()))})

    def end_all(self, grace_s: float) -> None:
        """Terminate, wait for the grace, kill, look again, until empty or given up. Waits."""
        kill_at = time.monotonic() + grace_s
        give_up_at = kill_at + GIVE_UP_S
        self.ask_to_end()
        while True:
            reap_orphans(spare_pid=0)
            if self.is_empty():
                return
            now = time.monotonic()
            if now >= give_up_at:
                self.give_up()
                return
            if now >= kill_at:
                self.kill()
            time.sleep(KILL_EVERY_S / 5)


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
            _kill_group(fd)
    finally:
        os.close(fd)


def _kill_group(leader_fd: int) -> None:
    with contextlib.suppress(OSError):  # nobody is in it any more, or the kernel is too old
        signal.pidfd_send_signal(leader_fd, signal.SIGKILL, None, _PIDFD_SIGNAL_PROCESS_GROUP)

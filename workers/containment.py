"""Keeping hold of everything that a stage starts.

The worker is a child subreaper: whatever daemonizes, double forks or changes its session comes back
to it when its parent ends. So the proof that nothing of a stage is left is that the worker has no
child at all, and what is left can be found by walking down from it. Signals go to proven processes
only, through a pidfd.
"""

import ctypes
import os
import signal
from typing import Final

from workers.records.identity import proc_stat, send_signal

_PR_SET_CHILD_SUBREAPER: Final = 36  # linux/prctl.h


def become_subreaper() -> None:
    """Let orphans of our descendants become our children. Raises OSError where it is refused."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def reset_signals() -> None:
    """Give every signal its default disposition and unblock all: children inherit neither."""
    for number in signal.valid_signals():
        if signal.getsignal(number) is signal.SIG_IGN and number not in _PYTHON_IGNORES:
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


# Python ignores these in itself and gives them back to children (restore_signals of subprocess).
_PYTHON_IGNORES: Final = (signal.SIGPIPE, signal.SIGXFSZ)


def has_children() -> bool:
    """Tell whether anything of a stage is left, zombies included."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def reap_orphans(spare_pid: int) -> None:
    """Reap every zombie child but one, whose status somebody still wants."""
    for pid in _children(os.getpid()):
        if pid != spare_pid:
            try:
                os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                continue


def descendants() -> list[tuple[int, int]]:
    """Every living process below us: pid and start ticks, parents before children."""
    found = []
    waiting = _children(os.getpid())
    while waiting:
        pid = waiting.pop(0)
        stat = proc_stat(pid)
        if stat is None:
            continue
        if stat.state not in "ZX":
            found.append((pid, stat.start_ticks))
        waiting += _children(pid)
    return found


def _children(pid: int) -> list[int]:
    found: list[int] = []
    try:
        threads = os.listdir(f"/proc/{pid}/task")
        for thread in threads:
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                found += [int(word) for word in file.read().split()]
    except (FileNotFoundError, ProcessLookupError):
        return found
    return found


def ask_to_end() -> None:
    """SIGTERM to everything below us, and SIGCONT so that what is stopped can obey."""
    for pid, ticks in descendants():
        send_signal(pid, ticks, signal.SIGTERM)
        send_signal(pid, ticks, signal.SIGCONT)


def kill_all() -> list[int]:
    """Stop everything below us, so that nothing forks away, then kill it. Returns the pids."""
    found = descendants()
    for pid, ticks in found:
        send_signal(pid, ticks, signal.SIGSTOP)
    for pid, ticks in found:
        send_signal(pid, ticks, signal.SIGKILL)
    return [pid for pid, _ in found]

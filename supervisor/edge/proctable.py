"""The process table: is a process stopped, and what is still alive of a run.

What belongs to a run is proven, never guessed: the run's id in the process's environment, or
membership in the session that its worker led, where we knew that worker while it lived. Processes
that shed both come to us, because we are a child subreaper and their worker is dead: a child of
ours that is no worker can only be such a one.
"""

import contextlib
import ctypes
import os
import signal
from collections.abc import Iterable
from typing import Final

import psutil

from workers.records.identity import Identity, is_alive, open_pidfd, send_signal
from workers.records.proc import proc_stat

_PR_SET_CHILD_SUBREAPER: Final = 36  # linux/prctl.h
_STOPPED: Final = (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)


def become_subreaper() -> None:
    """Let orphans of dead workers become our children. Raises OSError where it is refused."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def is_stopped(pid: int) -> bool:
    """Tell whether a process is in state T: somebody stopped or traces it."""
    try:
        return psutil.Process(pid).status() in _STOPPED
    except psutil.Error:
        return False


def kill_remains(
    run_id: str, worker: Identity | None, our_workers: Iterable[int]
) -> tuple[int, ...]:
    """Kill, once, whatever is alive of a run whose worker is gone or must go.

    Args:
        run_id: the run.
        worker: its worker, None where we never knew it alive.
        our_workers: pids of our children that are living workers of other runs.

    Returns:
        The pids that were alive at this look; empty means that nothing is left.
    """
    spared = {os.getpid(), *our_workers}
    found = []
    for pid in psutil.pids():
        if pid in spared:
            continue
        stat = proc_stat(pid)
        if stat is None:
            continue
        if stat.state in "ZX":
            if stat.ppid == os.getpid():
                _reap(pid)
            continue
        if _belongs(pid, stat.sid, run_id, worker) or stat.ppid == os.getpid():
            found.append(pid)
            send_signal(pid, stat.start_ticks, signal.SIGKILL)
    return tuple(found)


def _belongs(pid: int, sid: int, run_id: str, worker: Identity | None) -> bool:
    if worker is not None and sid == worker.pid and _leads(worker):
        return True
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            environ = file.read()
    except OSError:
        return False
    return f"SUPERVISED_RUN_ID={run_id}".encode() in environ.split(b"\0")


def _leads(worker: Identity) -> bool:
    """The session with this number is the worker's: nobody else has taken its pid since."""
    leader = proc_stat(worker.pid)
    return leader is None or leader.start_ticks == worker.start_ticks


def _reap(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def living_pidfd(worker: Identity) -> int | None:
    """A pidfd of a worker that an earlier supervisor started, or None where it is gone."""
    return open_pidfd(worker.pid, worker.start_ticks)


def works_on(worker: Identity, owner_path: str) -> bool:
    """Tell whether a process that a journal names is that run's worker: it has ``.owner`` open.

    A journal is a file, and files can be edited: no signal goes to a process because of a number
    in one.

    Args:
        worker: who is named, of this host and boot.
        owner_path: the run's ``.owner``.
    """
    if worker.pid == os.getpid() or not is_alive(worker):
        return False
    folder = f"/proc/{worker.pid}/fd"
    try:
        wanted = os.stat(owner_path, follow_symlinks=False)
        names = os.listdir(folder)
    except OSError:
        return False
    for name in names:
        with contextlib.suppress(OSError):  # closed since it was listed
            if os.path.samestat(os.stat(f"{folder}/{name}"), wanted):
                return True
    return False

"""The process table: is a process stopped, does a worker still live."""

import contextlib
import os
from typing import Final

import psutil

from workers.records.identity import Identity, is_of_this_boot, open_pidfd
from workers.records.proc import is_running

_STOPPED: Final = (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)


def is_stopped(pid: int) -> bool:
    """Tell whether a process is in state T: somebody stopped or traces it."""
    try:
        return psutil.Process(pid).status() in _STOPPED
    except psutil.Error:
        return False


def living_pidfd(worker: Identity) -> int | None:
    """A pidfd of a worker that an earlier supervisor started, or None where it is gone."""
    return open_pidfd(worker.pid, worker.start_ticks)


def works_on(worker: Identity, owner_path: str) -> bool:
    """Tell whether a process that a journal names is that run's worker: it has ``.owner`` open.

    A journal is a file, and files can be edited: no signal goes to a process because of a number
    in one.

    Args:
        worker: who is named. Its host may have another name by now; that it has ``.owner`` open
            proves enough.
        owner_path: the run's ``.owner``.
    """
    if worker.pid in (1, os.getpid()) or not is_of_this_boot(worker):
        return False
    if not is_running(worker.pid, worker.start_ticks):
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

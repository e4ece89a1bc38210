"""The process table: is a process stopped, does a worker still live."""

from typing import Final

import psutil

from workers.records.identity import Identity, open_pidfd

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

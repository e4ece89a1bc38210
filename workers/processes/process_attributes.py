"""What a process of ours sets about itself: subreaper, title, and when memory runs out, its rank.

If memory runs out, the kernel should kill stages before workers and workers before the supervisor.
It kills the process that uses most memory, after adding ``oom_score_adj`` thousandths of all
memory. A growing stage is the right victim; a supervisor with a thousand small workers is often the
largest single process and must survive. A process may always raise this value of the user's
processes.
"""

import contextlib
import ctypes
import functools
import os
from collections.abc import Sequence
from typing import Final

from workers.records.proc import read_small

_PR_SET_NAME: Final = 15  # linux/prctl.h
_PR_SET_CHILD_SUBREAPER: Final = 36
_NAME_LIMIT_BYTES: Final = 15  # TASK_COMM_LEN without the NUL
_ARG_START: Final = 48  # field of /proc/PID/stat, proc(5); the next one is the end
_FIRST_FIELD: Final = 3  # the first one after the name
# Under a limit of 100 MiB a small worker (15 MiB) must still come before a supervisor (45 MiB),
# which differ by 30 % of the limit.
_WORKER_STEP: Final = 300
_STAGE_STEP: Final = 600
_HIGHEST_SCORE: Final = 1000


@functools.lru_cache(maxsize=1)
def _libc() -> ctypes.CDLL:
    """Loaded once, before a zygote forks: loading touches 200 pages."""
    return ctypes.CDLL(None, use_errno=True)


def become_subreaper() -> None:
    """Make orphans of our descendants our children; raises OSError if that is refused."""
    if _libc().prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def set_title(argv: Sequence[str], name: str) -> None:
    """Set what ``ps`` shows of this process.

    Args:
        argv: a command line; its front is cut if it is longer than the process's own.
        name: the short name, of which the kernel keeps 15 bytes.
    """
    _libc().prctl(_PR_SET_NAME, name.encode()[:_NAME_LIMIT_BYTES], 0, 0, 0)
    start, size = _argument_area()
    if size > 0:
        data = os.fsencode("\0".join(argv))[-(size - 1) :]
        ctypes.memmove(start, data.ljust(size, b"\0"), size)


@functools.lru_cache(maxsize=1)
def _argument_area() -> tuple[int, int]:
    """Address and size of the process's arguments; a fork has the same."""
    fields = read_small("/proc/self/stat").rpartition(b") ")[2].split()
    at = _ARG_START - _FIRST_FIELD
    start, end = int(fields[at]), int(fields[at + 1])
    return (start, end - start) if 0 < start < end else (0, 0)  # the kernel may hide it


@functools.lru_cache(maxsize=1)
def inherited_score() -> int | None:
    """The ``oom_score_adj`` that this process was started with; None if the kernel has none.

    Read once, before ``raise_worker_score``; the forks of a zygote have its value.
    """
    try:
        return int(read_small("/proc/self/oom_score_adj"))
    except OSError:
        return None


def raise_worker_score() -> None:
    """Let the kernel kill this process before the supervisor that started it."""
    _set_score("self", _WORKER_STEP)


def raise_stage_score(pid: int) -> None:
    """Let the kernel kill a stage's process, just started, before its worker.

    What it forked in the microseconds since its start keeps the worker's value.
    """
    _set_score(str(pid), _STAGE_STEP)


def _set_score(pid: str, step: int) -> None:
    base = inherited_score()
    if base is None:
        return
    with contextlib.suppress(OSError):  # the process has ended, or has become another user's
        fd = os.open(f"/proc/{pid}/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, b"%d" % min(base + step, _HIGHEST_SCORE))
        finally:
            os.close(fd)

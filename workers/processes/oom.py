"""Who dies first when memory runs out: stages before workers, workers before the supervisor.

The kernel kills what uses most memory, after adding ``oom_score_adj`` thousandths of all memory. A
stage that grows is the right one to die; a supervisor with a thousand small workers is often the
largest single process, and must not be. Everybody may raise the value, of any process of his own.
"""

import contextlib
import functools
import os
from typing import Final

from workers.records.proc import read_small

# Steps wide enough that under a limit of 100 MiB a small worker (15 MiB) still comes before a
# supervisor (45 MiB): 30 % of the limit each.
_WORKER_STEP: Final = 300
_STAGE_STEP: Final = 600
_HIGHEST: Final = 1000


def raise_worker_score() -> None:
    """Let this process be killed before the supervisor that started it."""
    base = inherited_score()
    if base is not None:
        _write("self", base + _WORKER_STEP)


def raise_stage_score(pid: int) -> None:
    """Let a stage's process, just started, be killed before its worker.

    What it forked in the few microseconds since its start keeps the worker's value.
    """
    base = inherited_score()
    if base is not None:
        _write(str(pid), base + _STAGE_STEP)


@functools.lru_cache(maxsize=1)
def inherited_score() -> int | None:
    """The value that this process was started with; None if the kernel has none.

    Read once, before ``raise_worker_score``; what a zygote forks has it from there.
    """
    try:
        return int(read_small("/proc/self/oom_score_adj"))
    except OSError:
        return None


def _write(pid: str, value: int) -> None:
    with contextlib.suppress(OSError):  # it has ended, or has become another user's
        fd = os.open(f"/proc/{pid}/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, b"%d" % min(value, _HIGHEST))
        finally:
            os.close(fd)

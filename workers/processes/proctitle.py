"""What ``ps`` shows of this process: its argument area, written over."""

import functools
import os
from collections.abc import Sequence
from typing import Final

from workers.processes.libc import set_name, write_memory
from workers.records.proc import read_small

_ARG_START: Final = 48  # field of /proc/PID/stat, proc(5); the next one is the end
_FIRST_FIELD: Final = 3  # the first one behind the name


def set_title(words: Sequence[str], name: str) -> None:
    """Show other words than those that this process was started with.

    Args:
        words: a command line. It is cut at its front where it does not fit into the room of ours.
        name: the short name, of which the kernel keeps 15 bytes.
    """
    set_name(name)
    start, size = _room()
    if size > 0:
        data = os.fsencode("\0".join(words))[-(size - 1) :]
        write_memory(start, data.ljust(size, b"\0"))


@functools.lru_cache(maxsize=1)
def _room() -> tuple[int, int]:
    """Where the argument area begins, and its size; a fork has it where its parent has it."""
    fields = read_small("/proc/self/stat").rpartition(b") ")[2].split()
    at = _ARG_START - _FIRST_FIELD
    start, end = int(fields[at]), int(fields[at + 1])
    return (start, end - start) if 0 < start < end else (0, 0)  # the kernel may not tell

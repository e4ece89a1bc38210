"""What only the C library offers."""

import ctypes
import functools
import os
from typing import Final

_PR_SET_NAME: Final = 15  # linux/prctl.h
_PR_SET_CHILD_SUBREAPER: Final = 36
_NAME_LIMIT_BYTES: Final = 15  # TASK_COMM_LEN, less its NUL


@functools.lru_cache(maxsize=1)
def _libc() -> ctypes.CDLL:
    """Made once, before a zygote forks: making it touches 200 pages."""
    return ctypes.CDLL(None, use_errno=True)


def become_subreaper() -> None:
    """Let orphans of our descendants become our children. Raises OSError where it is refused."""
    if _libc().prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def set_name(name: str) -> None:
    """Give this process its short name, of which the kernel keeps 15 bytes."""
    _libc().prctl(_PR_SET_NAME, name.encode()[:_NAME_LIMIT_BYTES], 0, 0, 0)


def write_memory(address: int, data: bytes) -> None:
    """Write over our own memory; the caller knows what is there."""
    ctypes.memmove(address, data, len(data))

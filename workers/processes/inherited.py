"""The environment, umask and resource limits that this process inherited from its caller.

Our own processes need other values: records that we can read whatever the umask, and as many
descriptors as the hard limit allows. Stages and hooks get the caller's values. So every program of
ours first calls ``init_process``, and starts children inside ``inherited_limits``.

Python changes the environment, too: in the C locale it sets ``LC_CTYPE`` (PEP 538) before any of
our code runs. ``init_process`` undoes that in ``os.environ``, which is therefore the caller's
environment in every process of ours.
"""

import contextlib
import os
import resource
from collections.abc import Iterator
from typing import Final

from workers.records.files import read_bytes

_OWNER_BITS: Final = 0o700
_COERCED: Final = ("C.UTF-8", "C.utf8", "UTF-8")  # what PEP 538 sets, depending on the system
# Raised to the hard limit for ourselves: descriptors and processes that our work needs, and limits
# that would end us, or truncate a record, in the middle of a write.
_RAISED: Final = (
    resource.RLIMIT_NOFILE,
    resource.RLIMIT_NPROC,
    resource.RLIMIT_FSIZE,
    resource.RLIMIT_CPU,
)

POPEN_FDS_COUNT: Final = 8  # subprocess.Popen opens at most /dev/null and two pipes
_umasks: Final[list[tuple[int, int]]] = []  # ours and the caller's, if they differ
_limits: Final[dict[int, tuple[int, int]]] = {}  # the caller's (soft, hard), if we raised ours
_spare_fds: Final[list[int]] = []  # of /dev/null, with low numbers, if we raised that limit


def init_process() -> None:
    """Set this process's umask and limits; every program of ours calls it first.

    A second call changes nothing. A fork has its parent's values and knows the caller's.
    """
    restore_locale()
    umask = os.umask(0o077)
    os.umask(umask & ~_OWNER_BITS)
    if umask & _OWNER_BITS:
        _umasks.append((umask & ~_OWNER_BITS, umask))
    for limit in _RAISED:
        soft, hard = resource.getrlimit(limit)
        if soft != hard:
            with contextlib.suppress(OSError, ValueError):  # a sandbox refuses: the limit stays
                resource.setrlimit(limit, (hard, hard))
                _limits[limit] = (soft, hard)
    if resource.RLIMIT_NOFILE in _limits and not _spare_fds:
        _spare_fds.extend(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC) for _ in range(3))


def restore_locale() -> None:
    """Undo Python's change of ``LC_CTYPE`` in ``os.environ``; without /proc it stays."""
    if os.environ.get("LC_CTYPE") not in _COERCED:
        return
    try:
        environment = read_bytes("/proc/self/environ").split(b"\0")
    except OSError:
        return
    name = b"LC_CTYPE="
    values = [entry[len(name) :] for entry in environment if entry.startswith(name)]
    if values:
        os.environ["LC_CTYPE"] = os.fsdecode(values[0])
    else:
        del os.environ["LC_CTYPE"]


@contextlib.contextmanager
def inherited_limits(new_fds_count: int = 0) -> Iterator[None]:
    """Set the caller's umask and limits while a child is started.

    They apply to the whole process: start children from one thread.

    Args:
        new_fds_count: how many descriptors this process opens in the block. If it has more open
            than the caller's limit allows, the child gets the limit that these need.
    """
    ours = {limit: resource.getrlimit(limit) for limit in _limits}
    for limit, (soft, hard) in _limits.items():
        if limit == resource.RLIMIT_NOFILE and new_fds_count:
            soft = max(soft, _lowest_free_fd() + new_fds_count)
        resource.setrlimit(limit, (soft, hard))
    for _, theirs in _umasks:
        os.umask(theirs)
    try:
        yield
    finally:
        for umask, _ in _umasks:
            os.umask(umask)
        for limit, (soft, hard) in ours.items():
            resource.setrlimit(limit, (soft, hard))


@contextlib.contextmanager
def low_fds(stdout_fd: int, stderr_fd: int) -> Iterator[tuple[int, int]]:
    """Copy two descriptors to numbers that the caller's limit allows; posix_spawn needs that."""
    caller_soft = _limits.get(resource.RLIMIT_NOFILE, (resource.RLIM_INFINITY, 0))[0]
    if caller_soft == resource.RLIM_INFINITY or max(stdout_fd, stderr_fd) < caller_soft:
        yield stdout_fd, stderr_fd
        return
    null, *low = _spare_fds
    try:
        for fd, number in zip((stdout_fd, stderr_fd), low, strict=True):
            os.dup2(fd, number, inheritable=False)
        yield low[0], low[1]
    finally:
        for number in low:  # an open copy would keep the pipe from ending
            os.dup2(null, number, inheritable=False)


def _lowest_free_fd() -> int:
    fd = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    os.close(fd)
    return fd

"""What this process inherited from its caller: environment, umask and resource limits.

Our own processes need other values: records that we can read back whatever the umask is, and as
many descriptors as the hard limit allows. Stages and hooks get what the caller had. So each program
of ours first calls ``init_process``, and starts children within ``inherited_limits``.

Python changes the environment, too: in the C locale it sets ``LC_CTYPE`` (PEP 538) before any of
our code runs. ``init_process`` undoes that in ``os.environ``, which is therefore the environment of
the caller in every process of ours, and can be passed on as it is.
"""

import contextlib
import os
import resource
from collections.abc import Iterator
from typing import Final

from workers.records.files import read_bytes

_OWNER_BITS: Final = 0o700
_COERCED: Final = ("C.UTF-8", "C.utf8", "UTF-8")  # what PEP 538 sets, by what the system has
# Raised to the hard limit for ourselves: descriptors and threads that we need to do our work, and
# what would end or garble us in the middle of a record.
_RAISED: Final = (
    resource.RLIMIT_NOFILE,
    resource.RLIMIT_NPROC,
    resource.RLIMIT_FSIZE,
    resource.RLIMIT_CPU,
)

POPEN_FDS_COUNT: Final = 8  # subprocess.Popen opens /dev/null and two pipes or less
_umasks: Final[list[tuple[int, int]]] = []  # ours and the caller's, if they differ
_limits: Final[dict[int, tuple[int, int]]] = {}  # the caller's (soft, hard), if we raised ours
_spare_fds: Final[list[int]] = []  # of /dev/null, with low numbers, if we raised that limit


def init_process() -> None:
    """Give this process the values that it needs; call it first, in every program of ours.

    A second call changes nothing. A fork has the values of its parent, and knows the caller's.
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
    """Undo in ``os.environ`` what Python did there; without /proc it stays as it is."""
    if os.environ.get("LC_CTYPE") not in _COERCED:
        return
    try:
        started_with = read_bytes("/proc/self/environ").split(b"\0")
    except OSError:
        return
    name = b"LC_CTYPE="
    values = [entry[len(name) :] for entry in started_with if entry.startswith(name)]
    if values:
        os.environ["LC_CTYPE"] = os.fsdecode(values[0])
    else:
        del os.environ["LC_CTYPE"]


@contextlib.contextmanager
def inherited_limits(new_fds_count: int = 0) -> Iterator[None]:
    """Have the caller's umask and limits for the moment in which a child is started.

    The limits are those of the whole process: start children from one thread.

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
    """Have two descriptors by numbers that the caller's limit allows, as posix_spawn wants them."""
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
        for number in low:  # a copy that stayed open would keep the pipe from ending
            os.dup2(null, number, inheritable=False)


def _lowest_free_fd() -> int:
    fd = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    os.close(fd)
    return fd

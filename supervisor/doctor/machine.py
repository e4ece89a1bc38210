"""Looking at the machine for ``supervisor doctor``: what we need of the kernel, and its limits.

Nothing is changed: each ability is tried on ourselves, or asked for without using it.
"""

import ctypes
import os
import platform
import resource
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Final

from supervisor.daemon.watcher import Watcher
from supervisor.doctor.check_result import CheckResult, bad, ok, warn
from supervisor.launchers.spawner import BASE_DESCRIPTORS_COUNT
from workers.records.spec import PipelineSpec
from workers.stages.descriptors import descriptors_of, stages_at_once, stages_side_by_side

_PR_GET_CHILD_SUBREAPER: Final = 37  # linux/prctl.h
# A worker has three threads and its stage at least one process.
_PROCESSES_PER_RUN_COUNT: Final = 4
_FIRST_SANE_YEAR: Final = 2024
_LAST_SANE_YEAR: Final = 2100
_INOTIFY: Final = "/proc/sys/fs/inotify"


def check_machine(*, max_runs: int, watched: str) -> Iterator[CheckResult]:
    """Look at everything that is the same for every root.

    Args:
        max_runs: the setting; limits are held against it.
        watched: a directory that exists, to try watching.
    """
    yield ok("system", f"Linux {platform.release()}, Python {sys.version.split()[0]}")
    yield _pidfd()
    yield _subreaper()
    yield _children()
    yield _watching(watched)
    yield _descriptors(max_runs)
    yield _processes(max_runs)
    yield _clock()


def _pidfd() -> CheckResult:
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError as error:
        return bad(
            "pidfd",
            f"the kernel gives none ({error.strerror})",
            "use Linux 5.3 or newer, and a sandbox that allows pidfd_open",
        )
    return ok("pidfd", "works")


def _subreaper() -> CheckResult:
    libc = ctypes.CDLL(None, use_errno=True)
    answer = ctypes.c_int()
    if libc.prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(answer), 0, 0, 0) != 0:
        return bad(
            "subreaper",
            f"refused ({os.strerror(ctypes.get_errno())})",
            "use a sandbox that allows prctl: without it a daemonized stage escapes",
        )
    return ok("subreaper", "works")


def _children() -> CheckResult:
    if os.path.exists("/proc/thread-self/children"):
        return ok("children", "/proc tells them")
    return warn(
        "children",
        "/proc/<pid>/task/<tid>/children is missing; children are found by walking all processes",
        "mount /proc, or use a kernel with CONFIG_PROC_CHILDREN, if many processes make it slow",
    )


def _watching(directory: str) -> CheckResult:
    watcher = Watcher(directory)
    watcher.close()
    limits = [_number(f"{_INOTIFY}/max_user_{name}") for name in ("watches", "instances")]
    told = f"limits: {limits[0]} watches, {limits[1]} instances"
    if watcher.state == "inotify":
        return ok("watching", f"inotify works ({told})")
    return warn(
        "watching",
        f"{watcher.state}; {told}",
        "nothing is lost, requests are found by a scan once a second; install watchdog, or raise "
        "fs.inotify.max_user_watches and max_user_instances",
    )


def _number(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return "unknown"


def _descriptors(max_runs: int) -> CheckResult:
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    needed = BASE_DESCRIPTORS_COUNT + max_runs
    told = f"{_limit(soft)} allowed, {needed} needed for max_runs = {max_runs}"
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return ok("descriptors", told)
    if soft < BASE_DESCRIPTORS_COUNT:
        return bad("descriptors", told, f"ulimit -n {needed}: with so few nothing can be recorded")
    return warn(
        "descriptors",
        told,
        f"ulimit -n {needed}, or max_runs = {soft - BASE_DESCRIPTORS_COUNT}: no more run at once",
    )


def check_width(pipelines: Iterable[PipelineSpec]) -> Iterator[CheckResult]:
    """Check whether the descriptors of a worker suffice for the widest pipeline.

    Args:
        pipelines: all that are configured; nothing is found if none has stages side by side.
    """
    widest = max(pipelines, key=descriptors_of, default=None)
    if widest is None or (width := stages_side_by_side(widest)) <= 1:
        return
    needed, at_once = descriptors_of(widest), stages_at_once(widest)
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    told = (
        f"{_limit(soft)} allowed, up to {needed} needed for the {width} stages that pipeline "
        f"{widest.id} may have at once"
    )
    if at_once is None or at_once >= width:
        yield ok("width", told)
    else:
        yield warn(
            "width",
            f"{told}; it has at most {at_once} at once",
            f"raise the hard limit (ulimit -n {needed}), or set max_parallel = {at_once}",
        )


def _processes(max_runs: int) -> CheckResult:
    soft = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    needed = _PROCESSES_PER_RUN_COUNT * max_runs
    told = f"{_limit(soft)} allowed, about {needed} needed for max_runs = {max_runs}"
    if os.geteuid() == 0:
        return ok("processes", f"{told}; the limit does not bind root")
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return ok("processes", told)
    return warn(
        "processes", told, f"ulimit -u {needed}, or a lower max_runs: runs beyond it fail to spawn"
    )


def _limit(value: int) -> str:
    return "any number" if value == resource.RLIM_INFINITY else str(value)


def _clock() -> CheckResult:
    before = time.monotonic()
    time.sleep(0.001)
    if time.monotonic() <= before:
        return bad("clock", "the monotonic clock stands still", "mend the machine's clock source")
    now = time.gmtime()
    told = time.strftime("%Y-%m-%d %H:%M:%S UTC", now)
    if _FIRST_SANE_YEAR <= now.tm_year < _LAST_SANE_YEAR:
        return ok("clock", told)
    return warn("clock", f"it says {told}", "set the clock: run ids and records carry its time")

"""Health checks of the machine: kernel features and limits. They change nothing."""

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
from workers.stages.graph import descriptors_of, stages_at_once, stages_side_by_side

_PR_GET_CHILD_SUBREAPER: Final = 37  # linux/prctl.h
# A worker has three threads and its stage at least one process.
_PROCESSES_PER_RUN_COUNT: Final = 4
_FIRST_SANE_YEAR: Final = 2024
_LAST_SANE_YEAR: Final = 2100
_INOTIFY: Final = "/proc/sys/fs/inotify"


def check_machine(*, max_runs: int, watched: str) -> Iterator[CheckResult]:
    """Check what is the same for every root.

    Args:
        max_runs: the setting, to check limits against.
        watched: an existing directory, to try inotify on.
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
            f"pidfd_open does not work ({error.strerror})",
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
            "use a sandbox that allows prctl: without it, daemonized processes escape",
        )
    return ok("subreaper", "works")


def _children() -> CheckResult:
    if os.path.exists("/proc/thread-self/children"):
        return ok("children", "/proc lists them")
    return warn(
        "children",
        "/proc/<pid>/task/<tid>/children is missing; workers scan all processes instead",
        "if the scan is slow, mount /proc or use a kernel with CONFIG_PROC_CHILDREN",
    )


def _watching(directory: str) -> CheckResult:
    watcher = Watcher(directory)
    watcher.close()
    limits = [_number(f"{_INOTIFY}/max_user_{name}") for name in ("watches", "instances")]
    what = f"limits: {limits[0]} watches, {limits[1]} instances"
    if watcher.state == "inotify":
        return ok("watching", f"inotify works ({what})")
    return warn(
        "watching",
        f"{watcher.state}; {what}",
        "install watchdog, or raise fs.inotify.max_user_watches and max_user_instances; until then "
        "a scan finds requests once a second",
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
    what = f"{_limit(soft)} allowed, {needed} needed for max_runs = {max_runs}"
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return ok("descriptors", what)
    if soft < BASE_DESCRIPTORS_COUNT:
        return bad("descriptors", what, f"ulimit -n {needed}: with fewer nothing can be recorded")
    return warn(
        "descriptors",
        what,
        f"ulimit -n {needed}, or max_runs = {soft - BASE_DESCRIPTORS_COUNT}: no more can run",
    )


def check_width(pipelines: Iterable[PipelineSpec]) -> Iterator[CheckResult]:
    """Check that a worker has enough descriptors for the pipeline with the most parallel stages.

    Args:
        pipelines: all configured ones. Without parallel stages there is no result.
    """
    widest = max(pipelines, key=descriptors_of, default=None)
    if widest is None or (width := stages_side_by_side(widest)) <= 1:
        return
    needed, at_once = descriptors_of(widest), stages_at_once(widest)
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    what = (
        f"{_limit(soft)} allowed, up to {needed} needed for the {width} parallel stages of "
        f"pipeline {widest.id}"
    )
    if at_once is None or at_once >= width:
        yield ok("width", what)
    else:
        yield warn(
            "width",
            f"{what}; only {at_once} run at once",
            f"raise the hard limit (ulimit -n {needed}), or set max_parallel = {at_once}",
        )


def _processes(max_runs: int) -> CheckResult:
    soft = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    needed = _PROCESSES_PER_RUN_COUNT * max_runs
    what = f"{_limit(soft)} allowed, about {needed} needed for max_runs = {max_runs}"
    if os.geteuid() == 0:
        return ok("processes", f"{what}; the limit does not apply to root")
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return ok("processes", what)
    return warn(
        "processes", what, f"ulimit -u {needed}, or a lower max_runs: further runs fail to spawn"
    )


def _limit(value: int) -> str:
    return "any number" if value == resource.RLIM_INFINITY else str(value)


def _clock() -> CheckResult:
    before = time.monotonic()
    time.sleep(0.001)
    if time.monotonic() <= before:
        return bad("clock", "the monotonic clock does not advance", "fix the clock source")
    now = time.gmtime()
    what = time.strftime("%Y-%m-%d %H:%M:%S UTC", now)
    if _FIRST_SANE_YEAR <= now.tm_year < _LAST_SANE_YEAR:
        return ok("clock", what)
    return warn("clock", f"it is at {what}", "set the clock: run ids and records have its time")

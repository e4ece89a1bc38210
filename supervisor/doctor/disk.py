"""Looking at a root's disk for ``supervisor doctor``, by using it as the records do.

Two files of our own are made beside the supervisor's and removed again; they are named as temporary
files, so that the next start sweeps what a killed doctor left.
"""

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from typing import Final

from supervisor.doctor.check_result import CheckResult, bad, ok, warn
from workers.records.atomic import create_file, temporary_name
from workers.records.files import open_regular, read_bytes, sync_dir
from workers.records.limits import Limits

_CLOCKS_S: Final = 2.0  # FAT keeps mtimes to 2 s; a server's clock further off is told
_FILES_PER_RUN_COUNT: Final = 12  # counted: a run of one stage, its directories included
_LEAST_BYTES: Final = 1 << 20  # the records of a run that prints nothing take 40 KiB
_LEAST_FILES_COUNT: Final = 64


def check_disk(directory: str) -> Iterator[CheckResult]:
    """Write, flush, replace and lock as records are.

    Args:
        directory: the supervisor's own, which exists.
    """
    paths = [os.path.join(directory, temporary_name("doctor")) for _ in range(2)]
    try:
        yield from _use(directory, *paths)
    finally:
        for path in paths:
            if os.path.lexists(path):
                os.unlink(path)


def _use(directory: str, path: str, newer: str) -> Iterator[CheckResult]:
    try:
        create_file(path, b"old")
        create_file(newer, b"new")
    except OSError as error:
        yield bad("writing", f"{directory}: {error.strerror}", _mend_of(error))
        return
    yield ok("writing", "files are written and flushed")
    yield _file_clock(path)
    yield _locking(path)
    yield _replacing(path, newer)
    yield _linking(path, newer)
    try:
        sync_dir(directory)
    except OSError as error:
        yield bad(
            "flushing",
            f"a directory cannot be flushed ({error.strerror})",
            "put the root on a file system that can: names would not survive a loss of power",
        )
        return
    yield ok("flushing", "directories are flushed")


def _mend_of(error: OSError) -> str:
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return "make room on this file system"
        case errno.EROFS:
            return "remount it for writing, or choose another --root"
        case errno.EACCES | errno.EPERM:
            return "run as the root's owner, or choose another --root"
        case _:
            return "see to the disk, or choose another --root"


def _file_clock(path: str) -> CheckResult:
    off_s = os.stat(path).st_mtime - time.time()
    if abs(off_s) <= _CLOCKS_S:
        return ok("file times", "the file system's clock is ours")
    return warn(
        "file times",
        f"the file system's clock is {off_s:+.0f} s from ours",
        "keep the clocks of this machine and of the file server together",
    )


def _locking(path: str) -> CheckResult:
    mend = "put the root on a local file system"
    first, second = open_regular(path, os.O_RDWR), open_regular(path, os.O_RDWR)
    try:
        fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return ok("locking", "flock excludes")
    except OSError as error:
        return bad("locking", f"flock does not work ({error.strerror})", mend)
    finally:
        os.close(first)
        os.close(second)
    return bad("locking", "flock lets two holders in at once", mend)


def _replacing(path: str, newer: str) -> CheckResult:
    mend = "put the root on a local file system"
    try:
        os.rename(newer, path)
        content = read_bytes(path)
    except OSError as error:
        return bad("replacing", f"rename does not work ({error.strerror})", mend)
    if content != b"new" or os.path.lexists(newer):
        return bad("replacing", "rename does not replace", mend)
    return ok("replacing", "rename replaces")


def _linking(path: str, second: str) -> CheckResult:
    """A file system without links works: claims are made by O_EXCL, manifests are made anew."""
    try:
        os.link(path, second, follow_symlinks=False)
    except OSError as error:
        return warn(
            "linking",
            f"a file gets no second name ({error.strerror})",
            "nothing is lost but the logs of tries that were made again; another file system has "
            "them",
        )
    return ok("linking", "files get second names")


def check_space(root: str, *, max_runs: int, limits: Limits) -> Iterator[CheckResult]:
    """Look whether what ``max_runs`` runs of one stage may write would fit.

    Args:
        root: a directory that exists.
        max_runs: the setting.
        limits: of a run's files, in bytes.
    """
    found = os.statvfs(root)
    free, wanted = found.f_bavail * found.f_frsize, 2 * limits.stream_limit_bytes * max_runs
    yield _room("space", free, wanted, _LEAST_BYTES, "bytes")
    if found.f_files:  # some file systems have no fixed number of inodes
        wanted = _FILES_PER_RUN_COUNT * max_runs
        yield _room("inodes", found.f_favail, wanted, _LEAST_FILES_COUNT, "inodes")


def _room(look: str, free: int, wanted: int, least: int, unit: str) -> CheckResult:
    told = f"{free:,} {unit} free"
    if free >= max(wanted, least):
        return ok(look, told)
    mend = "make room, or move the root"
    if free < least:
        return bad(look, f"{told}, less than {least:,}: verdicts would wait for room", mend)
    return warn(look, f"{told}; one round of runs may need {wanted:,}", mend)

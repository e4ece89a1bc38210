"""Health checks of the root's disk, which use it as the records do.

They create two files next to the supervisor's and remove them again. The files are named like
temporary files, so that the next start removes what a killed doctor left.
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

_CLOCKS_S: Final = 2.0  # FAT rounds mtimes to 2 s
_FILES_PER_RUN_COUNT: Final = 12  # of a run of one stage, directories included: measured
_LEAST_BYTES: Final = 1 << 20  # the records of a run that prints nothing take 40 KiB
_LEAST_FILES_COUNT: Final = 64


def check_disk(directory: str) -> Iterator[CheckResult]:
    """Check that files can be written, flushed, replaced, linked and locked.

    Args:
        directory: the supervisor's own directory, which exists.
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
        yield bad("writing", f"{directory}: {error.strerror}", _fix_of(error))
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
            "put the root on a file system that can: new files would not survive a power failure",
        )
        return
    yield ok("flushing", "directories are flushed")


def _fix_of(error: OSError) -> str:
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return "make room on this file system"
        case errno.EROFS:
            return "remount it for writing, or choose another --root"
        case errno.EACCES | errno.EPERM:
            return "run as the root's owner, or choose another --root"
        case _:
            return "fix the disk, or choose another --root"


def _file_clock(path: str) -> CheckResult:
    off_s = os.stat(path).st_mtime - time.time()
    if abs(off_s) <= _CLOCKS_S:
        return ok("file times", "the file system's clock agrees with this host's")
    return warn(
        "file times",
        f"the file system's clock is {off_s:+.0f} s from this host's",
        "synchronize the clocks of this host and of the file server (NTP)",
    )


def _locking(path: str) -> CheckResult:
    fix = "put the root on a local file system"
    first, second = open_regular(path, os.O_RDWR), open_regular(path, os.O_RDWR)
    try:
        fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return ok("locking", "flock works")
    except OSError as error:
        return bad("locking", f"flock does not work ({error.strerror})", fix)
    finally:
        os.close(first)
        os.close(second)
    return bad("locking", "flock lets two processes lock a file at once", fix)


def _replacing(path: str, newer: str) -> CheckResult:
    fix = "put the root on a local file system"
    try:
        os.rename(newer, path)
        content = read_bytes(path)
    except OSError as error:
        return bad("replacing", f"rename does not work ({error.strerror})", fix)
    if content != b"new" or os.path.lexists(newer):
        return bad("replacing", "rename does not replace files", fix)
    return ok("replacing", "rename replaces files")


def _linking(path: str, second: str) -> CheckResult:
    """Without hard links, claims use O_EXCL and manifests are rewritten: only a warning."""
    try:
        os.link(path, second, follow_symlinks=False)
    except OSError as error:
        return warn(
            "linking",
            f"hard links do not work ({error.strerror})",
            "use another file system, or do without the logs of earlier tries of a stage",
        )
    return ok("linking", "hard links work")


def check_space(root: str, *, max_runs: int, limits: Limits) -> Iterator[CheckResult]:
    """Check that there is room for what ``max_runs`` runs of one stage may write.

    Args:
        root: a directory that exists.
        max_runs: the setting.
        limits: the size limits of a run's files.
    """
    disk = os.statvfs(root)
    free, wanted = disk.f_bavail * disk.f_frsize, 2 * limits.stream_limit_bytes * max_runs
    yield _room("space", free, wanted, _LEAST_BYTES, "bytes")
    if disk.f_files:  # some file systems have no fixed number of inodes
        wanted = _FILES_PER_RUN_COUNT * max_runs
        yield _room("inodes", disk.f_favail, wanted, _LEAST_FILES_COUNT, "inodes")


def _room(check: str, free: int, wanted: int, least: int, unit: str) -> CheckResult:
    what = f"{free:,} {unit} free"
    if free >= max(wanted, least):
        return ok(check, what)
    fix = "make room, or move the root"
    if free < least:
        return bad(check, f"{what}, less than {least:,}: verdicts would wait for room", fix)
    return warn(check, f"{what}; max_runs runs may need {wanted:,}", fix)

"""Facts about a round without records: exit code, processes, times of the kernel.

They are collected when the supervisor has exited, before any record is read.
"""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass

from workers.records.clock import epoch_of
from workers.records.layout import Layout
from workers.records.proc import proc_stat


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """One round, observed from outside.

    Attributes:
        exit_code: of the supervisor; negative for a signal, None if it did not exit.
        problems: events that did not happen in time.
        left_alive: pids of processes that belonged to the root and outlived its supervisor.
        slowest_manifest_s: see slowest_last_manifest_s.
    """

    exit_code: int | None
    problems: tuple[str, ...] = ()
    left_alive: tuple[int, ...] = ()
    slowest_manifest_s: float = 0.0


def processes_of(root: str) -> list[int]:
    """The living processes of a root: stages by their environment, workers by their argv.

    Args:
        root: the root's absolute path.

    Returns:
        Their pids, without zombies and this process.
    """
    stage, worker = f"SUPERVISED_ROOT={root}".encode(), f"{root}/.runs/".encode()
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        is_ours = stage in _proc(name, "environ").split(b"\0") or any(
            word.startswith(worker) for word in _proc(name, "cmdline").split(b"\0")
        )
        stat = proc_stat(int(name)) if is_ours else None
        if stat is not None and not stat.has_ended:
            found.append(int(name))
    return found


def _proc(pid: str, name: str) -> bytes:
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:
            return file.read()
    except OSError:  # gone, or of another user
        return b""


def slowest_last_manifest_s(layout: Layout, task_id: str) -> float:
    """The duration of the slowest last write of a manifest, by the kernel's time stamps.

    A write begins at the manifest's ``updated_at`` and ends with the rename after the flush, which
    sets the inode's change time.

    Returns:
        Seconds, at least 0, with a precision of about 10 ms; 0 without a manifest.
    """
    slowest_s = 0.0
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(layout.runs_of(task_id)):
            path = layout.run_dir(task_id, name).manifest
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                with open(path, encoding="utf-8") as file:
                    made = epoch_of(json.load(file)["updated_at"])
                slowest_s = max(slowest_s, os.stat(path).st_ctime - made)
    return slowest_s


def lease_is_free(layout: Layout) -> bool:
    """True if no supervisor holds the lease."""
    try:
        fd = os.open(layout.lease_lock, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
    return True


def tracebacks_in(paths: Iterable[str]) -> list[str]:
    """The last line of each traceback in files of stderr.

    Args:
        paths: text files; missing ones are skipped.
    """
    found = []
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            with open(path, encoding="utf-8", errors="replace") as file:
                _, *traces = file.read().split("Traceback (most recent call last):")
            # Frames are indented; the first line that is not is the error.
            found += [
                next((line for line in trace.splitlines() if line[:1].strip()), "a traceback")
                for trace in traces
            ]
    return found

"""What can be seen of a round without any record: exit code, processes, the kernel's times.

It is looked at in the instant in which the supervisor has left; records are read afterwards.
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
    """One round, seen from outside.

    Attributes:
        exit_code: of the supervisor, negative for a signal, None where it did not leave.
        problems: what the harness waited for in vain.
        left_alive: pids of processes that belonged to the root and outlived its supervisor.
        slowest_manifest_s: see slowest_last_manifest_s.
    """

    exit_code: int | None
    problems: tuple[str, ...] = ()
    left_alive: tuple[int, ...] = ()
    slowest_manifest_s: float = 0.0


def processes_of(root: str) -> list[int]:
    """The living processes of a root: its stages by their environment, its workers by their words.

    Args:
        root: the root's absolute path.

    Returns:
        Their pids; zombies, and we ourselves, are not among them.
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
    except OSError:  # gone, or another user's
        return b""


def slowest_last_manifest_s(layout: Layout, task_id: str) -> float:
    """How long the slowest of the last manifest writes took, as the kernel tells it.

    A manifest says when it was made (``updated_at``); its inode's change time is the rename that
    put it in place, after the flush.

    Returns:
        Seconds, at least 0, exact to about 10 ms; 0 where there is no manifest.
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
    """Tell whether no supervisor holds the root any more."""
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
    """The error that each traceback ends with, in what the supervisor and dying workers said.

    Args:
        paths: files of text; a missing one holds none.
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

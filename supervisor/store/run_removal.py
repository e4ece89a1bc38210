"""Removes run directories: each is renamed into ``.removed``, then deleted.

The rename is flushed before anything is deleted: whatever happens, a run exists whole or not at
all. The next ``gc`` or start deletes what a crash leaves in ``.removed``. Paths are opened from
descriptor to descriptor and never through a link, so nothing outside the root is reached. A run is
never removed if history or state lack it, if a request names it, or if its worker is alive; run ids
are not reused, so a run that may be removed now will not start again.
"""

import contextlib
import errno
import os
import re
import time
from collections.abc import Iterator
from typing import Any, Final

from supervisor.core.policy.retention import Candidate
from supervisor.store.root_listing import active_ids, tasks
from workers.records.clock import epoch_of
from workers.records.files import DIR_MODE, read_bytes
from workers.records.flock import take_flock
from workers.records.history import read_lines
from workers.records.ids import RUN_ID_PATTERN, is_run_id
from workers.records.layout import Layout, RunDir
from workers.records.request import request_paths
from workers.records.typed_errors import TypedError

_RUN_ID: Final = re.compile(RUN_ID_PATTERN.encode())
_BLOCK_BYTES: Final = 512  # st_blocks counts in these, whatever the disk's own are
_ASIDE_TRIES_COUNT: Final = 10
_LOCK_TRIES_COUNT: Final = 10  # 0.2 s in all; a gc holds it for three calls
_LOCK_DELAY_S: Final = 0.02
_DIR: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

NOT_SETTLED: Final = "is not in history and state yet"
HOOKED: Final = "has hooks that have not ended"
REQUESTED: Final = "a request in the inbox names it"
NOT_IN_HISTORY: Final = "is not in the history; 'supervisor verify' says more"


def removal_candidates(layout: Layout, task_id: str) -> list[Candidate]:
    """Every run directory of a task, and whether something prevents its removal.

    Args:
        layout: the root.
        task_id: the task.

    Raises:
        OSError, BadFileError: the history cannot be read.
    """
    lines = {str(line.get("runId")): line for _, line in read_lines(layout.history(task_id))}
    reasons = _named_elsewhere(layout)
    candidates = []
    for name in _run_names(layout, task_id):
        run = layout.run_dir(task_id, name)
        line = lines.get(name)
        parent = None if line is None else line.get("parentRunId")
        candidates.append(
            Candidate(
                run_id=name,
                parent_run_id=parent if isinstance(parent, str) else None,
                ended_epoch_s=None if line is None else _epoch(line),
                blocked=_unfinished(layout, name)
                or reasons.get(name)
                or (NOT_IN_HISTORY if line is None else None),
                size_bytes=_size_bytes(run.path),
                names=_names_in(run.spec) - {name, str(parent)},
            )
        )
    return candidates


def _run_names(layout: Layout, task_id: str) -> list[str]:
    with contextlib.suppress(FileNotFoundError), os.scandir(layout.runs_of(task_id)) as entries:
        return sorted(
            e.name for e in entries if is_run_id(e.name) and e.is_dir(follow_symlinks=False)
        )
    return []


def _unfinished(layout: Layout, run_id: str) -> str | None:
    if os.path.lexists(layout.marker(run_id)):
        return NOT_SETTLED
    return HOOKED if os.path.lexists(layout.hook_marker(run_id)) else None


def _named_elsewhere(layout: Layout) -> dict[str, str]:
    """The runs that an unfinished run of any task, or a request, names, and the reason to keep."""
    named = {}
    for run_id, task_id in active_ids(layout).items():
        for name in _names_in(layout.run_dir(task_id, run_id).spec) - {run_id}:
            named[name] = f"run {run_id} names it"
    for path in request_paths(layout):
        named |= dict.fromkeys(_names_in(path), REQUESTED)
    return named


def _names_in(path: str) -> frozenset[str]:
    """Every run id that occurs in a record."""
    with contextlib.suppress(OSError, TypedError):
        return frozenset(name.decode() for name in _RUN_ID.findall(read_bytes(path)))
    return frozenset()


def _epoch(line: dict[str, Any]) -> float | None:
    with contextlib.suppress(ValueError, TypeError):
        return epoch_of(str(line.get("timestamp")))
    return None


def _size_bytes(path: str) -> int:
    """The bytes that deleting a directory frees."""
    blocks = 0
    for directory, _, files in os.walk(path):
        for place in (directory, *(os.path.join(directory, name) for name in files)):
            with contextlib.suppress(OSError):
                blocks += os.lstat(place).st_blocks
    return blocks * _BLOCK_BYTES


def remove_runs(layout: Layout, task_id: str, run_ids: list[str]) -> dict[str, str]:
    """Remove run directories.

    Args:
        layout: the root.
        task_id: their task.
        run_ids: in the order of removal.

    Returns:
        The reason for each run that could not be removed. A run that another process removed
        meanwhile is not among them.

    Raises:
        OSError: their directory cannot be opened or flushed; runs that were renamed by then are
            deleted by the next ``delete_removed``.
    """
    refused: dict[str, str] = {}
    reasons = _named_elsewhere(layout)
    name = os.path.basename(layout.removed_of(task_id))
    with _opened(layout, task_id) as cli:
        for run_id in run_ids:
            run = layout.run_dir(task_id, run_id)
            reason = reasons.get(run_id) or _put_aside(layout, run, name, cli)
            if reason is not None:
                refused[run_id] = reason
        with contextlib.suppress(FileNotFoundError), _aside(name, cli) as aside:
            os.fsync(aside)
        os.fsync(cli)
        _empty(name, cli)
    return refused


def _put_aside(layout: Layout, run: RunDir, name: str, cli: int) -> str | None:
    """Rename one run while holding its owner lock; returns the reason if that is impossible."""
    owner_fd = None
    try:
        try:
            owner_fd = _locked(run)
            if owner_fd is None:
                return "something of it is alive"
        except FileNotFoundError:
            pass  # a damaged directory: no process can hold its lock
        return _unfinished(layout, run.run_id) or _move(run, name, cli)
    except (OSError, TypedError) as error:
        return str(error)
    finally:
        if owner_fd is not None:
            os.close(owner_fd)


def _move(run: RunDir, name: str, cli: int) -> str | None:
    for _ in range(_ASIDE_TRIES_COUNT):  # another gc may remove .removed
        with contextlib.suppress(FileNotFoundError), _aside(name, cli) as aside:
            os.rename(run.run_id, run.run_id, src_dir_fd=cli, dst_dir_fd=aside)
            return None
        if not os.path.lexists(run.path):
            return None
    return "another gc is in the way"


def _locked(run: RunDir) -> int | None:
    """Take a run's owner lock; another gc holds it only for a moment."""
    for _ in range(_LOCK_TRIES_COUNT - 1):
        owner_fd = take_flock(run.owner)
        if owner_fd is not None:
            return owner_fd
        time.sleep(_LOCK_DELAY_S)
    return take_flock(run.owner)


def delete_removed(layout: Layout) -> int:
    """Finish interrupted removals of all tasks; returns the number of runs deleted.

    Files that the disk refuses to delete stay until the next call.
    """
    count = 0
    for task_id in tasks(layout):
        if os.path.lexists(layout.removed_of(task_id)):
            with contextlib.suppress(OSError), _opened(layout, task_id) as cli:
                count += _empty(os.path.basename(layout.removed_of(task_id)), cli)
    return count


@contextlib.contextmanager
def _opened(layout: Layout, task_id: str) -> Iterator[int]:
    """A descriptor of the directory of a task's runs, opened without following a link."""
    fds = [os.open(layout.runs, _DIR)]
    try:
        for path in (layout.task_dir(task_id), layout.runs_of(task_id)):
            fds.append(os.open(os.path.basename(path), _DIR, dir_fd=fds[-1]))
        yield fds[-1]
    finally:
        for fd in fds:
            os.close(fd)


@contextlib.contextmanager
def _aside(name: str, cli: int) -> Iterator[int]:
    """A descriptor of the directory for removed runs, created if it is missing."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, DIR_MODE, dir_fd=cli)
    fd = os.open(name, _DIR, dir_fd=cli)
    try:
        yield fd
    finally:
        os.close(fd)


def _empty(name: str, cli: int) -> int:
    """Delete everything in the directory for removed runs, and the directory; returns the runs.

    Another gc may delete the same files at the same time, or add runs, which it deletes itself.
    """
    count = 0
    with contextlib.suppress(FileNotFoundError):
        walk = os.fwalk(name, topdown=False, onerror=_unless_gone, dir_fd=cli)
        for _, folders, files, fd in walk:
            for entry in files:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(entry, dir_fd=fd)
            for entry in folders:
                count += _remove_dir(entry, fd) and is_run_id(entry)
        try:
            _remove_dir(name, cli)
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:
                raise
    return count


def _unless_gone(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _remove_dir(name: str, fd: int) -> bool:
    """Remove an empty directory; False if another process has removed it."""
    try:
        os.rmdir(name, dir_fd=fd)
    except NotADirectoryError:
        os.unlink(name, dir_fd=fd)  # a link
    except FileNotFoundError:
        return False
    return True

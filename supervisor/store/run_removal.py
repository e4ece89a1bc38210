"""Run directories that retention removes: looked at, put aside whole, then deleted.

A directory is renamed into ``.removed`` beside it, the rename is flushed, and only then is anything
in it deleted: whatever happens in between, a run is there whole or not at all. What a crash leaves
in ``.removed`` is deleted by the next ``gc`` or start. Names are followed from descriptor to
descriptor and never through a link, so that nothing outside the root can be meant. A run that is
not in history and state, that is asked for, or that has a living worker is never touched; run ids
are not used twice, so a run that may go now will not come to life again.
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

_NAMED: Final = re.compile(RUN_ID_PATTERN.encode())
_BLOCK_BYTES: Final = 512  # st_blocks counts in these, whatever the disk's own are
_ASIDE_TRIES_COUNT: Final = 10
_LOCK_TRIES_COUNT: Final = 10  # 0.2 s in all; a gc holds it for three calls
_LOCK_DELAY_S: Final = 0.02
_DIR: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

NOT_SETTLED: Final = "is not in history and state yet"
HOOKED: Final = "has hooks that have not ended"
ASKED: Final = "a request in the inbox names it"


def removal_candidates(layout: Layout, task_id: str) -> list[Candidate]:
    """Every run directory of a task, with what speaks against removing it.

    Args:
        layout: the root.
        task_id: the task.

    Raises:
        OSError, BadFileError: the history cannot be read.
    """
    lines = {str(line.get("runId")): line for _, line in read_lines(layout.history(task_id))}
    asked = _named_in_requests(layout)
    waiting = _named_by_the_living(layout)
    found = []
    for name in _run_names(layout, task_id):
        run = layout.run_dir(task_id, name)
        line = lines.get(name)
        parent = None if line is None else line.get("parentRunId")
        found.append(
            Candidate(
                run_id=name,
                parent_run_id=parent if isinstance(parent, str) else None,
                ended_epoch_s=None if line is None else _epoch(line),
                held=_held(layout, name, line, asked) or waiting.get(name),
                size_bytes=_size_bytes(run.path),
                names=_names_in(run.spec) - {name, str(parent)},
            )
        )
    return found


def _run_names(layout: Layout, task_id: str) -> list[str]:
    with contextlib.suppress(FileNotFoundError), os.scandir(layout.runs_of(task_id)) as entries:
        return sorted(
            e.name for e in entries if is_run_id(e.name) and e.is_dir(follow_symlinks=False)
        )
    return []


def _held(layout: Layout, name: str, line: dict[str, Any] | None, asked: set[str]) -> str | None:
    if os.path.lexists(layout.marker(name)):
        return NOT_SETTLED
    if os.path.lexists(layout.hook_marker(name)):
        return HOOKED
    if name in asked:
        return ASKED
    if line is None:
        return "is not in the history; 'supervisor verify' says more"
    return None


def _named_by_the_living(layout: Layout) -> dict[str, str]:
    """The runs, of whatever task, that one which is not finished names in its spec; and why."""
    found = {}
    for run_id, task_id in active_ids(layout).items():
        for name in _names_in(layout.run_dir(task_id, run_id).spec) - {run_id}:
            found[name] = f"run {run_id} names it"
    return found


def _named_in_requests(layout: Layout) -> set[str]:
    """The runs that a request in the inbox asks for or names, whatever it asks."""
    return {name for path in request_paths(layout) for name in _names_in(path)}


def _names_in(path: str) -> frozenset[str]:
    """Every run id in a record, wherever it stands in it."""
    with contextlib.suppress(OSError, TypedError):
        return frozenset(found.decode() for found in _NAMED.findall(read_bytes(path)))
    return frozenset()


def _epoch(line: dict[str, Any]) -> float | None:
    with contextlib.suppress(ValueError, TypeError):
        return epoch_of(str(line.get("timestamp")))
    return None


def _size_bytes(path: str) -> int:
    """What deleting a directory gives back to the disk."""
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
        run_ids: in the order in which they go.

    Returns:
        For each run that could not be removed, why. One that somebody else removed meanwhile is
        none of them.

    Raises:
        OSError: the directory that holds them cannot be opened or flushed; a run that was put
            aside by then is removed by the next ``delete_removed``.
    """
    refused: dict[str, str] = {}
    wanted = {**_named_by_the_living(layout), **dict.fromkeys(_named_in_requests(layout), ASKED)}
    name = _name_of_aside(layout, task_id)
    with _opened(layout, task_id) as cli:
        for run_id in run_ids:
            run = layout.run_dir(task_id, run_id)
            why = wanted.get(run_id) or _put_aside(layout, run, name, cli)
            if why is not None:
                refused[run_id] = why
        with contextlib.suppress(FileNotFoundError), _aside(name, cli) as aside:
            os.fsync(aside)
        os.fsync(cli)
        _empty(name, cli)
    return refused


def _put_aside(layout: Layout, run: RunDir, name: str, cli: int) -> str | None:
    """Rename one, holding its owner lock; why not, where it may not or cannot go."""
    owner_fd = None
    try:
        try:
            owner_fd = _locked(run)
            if owner_fd is None:
                return "something of it is alive"
        except FileNotFoundError:
            pass  # of a damaged directory; nobody can have it locked
        if os.path.lexists(layout.marker(run.run_id)):
            return NOT_SETTLED
        if os.path.lexists(layout.hook_marker(run.run_id)):
            return HOOKED
        return _move(run, name, cli)
    except (OSError, TypedError) as error:
        return str(error)
    finally:
        if owner_fd is not None:
            os.close(owner_fd)


def _move(run: RunDir, name: str, cli: int) -> str | None:
    for _ in range(_ASIDE_TRIES_COUNT):  # another gc may remove the place where it is to go
        with contextlib.suppress(FileNotFoundError), _aside(name, cli) as aside:
            os.rename(run.run_id, run.run_id, src_dir_fd=cli, dst_dir_fd=aside)
            return None
        if not os.path.lexists(run.path):
            return None
    return "another gc is in the way"


def _locked(run: RunDir) -> int | None:
    """Take a run's owner lock; another gc, which does the same, has it for a moment only."""
    for _ in range(_LOCK_TRIES_COUNT - 1):
        owner_fd = take_flock(run.owner)
        if owner_fd is not None:
            return owner_fd
        time.sleep(_LOCK_DELAY_S)
    return take_flock(run.owner)


def delete_removed(layout: Layout) -> int:
    """Delete what removals that did not end have put aside, of all tasks; how many runs it was.

    What the disk refuses to delete stays until the next sweep; it is in nobody's way.
    """
    count = 0
    for task_id in tasks(layout):
        if os.path.lexists(layout.removed_of(task_id)):
            with contextlib.suppress(OSError), _opened(layout, task_id) as cli:
                count += _empty(_name_of_aside(layout, task_id), cli)
    return count


@contextlib.contextmanager
def _opened(layout: Layout, task_id: str) -> Iterator[int]:
    """The directory of a task's runs, reached through no link below the root."""
    fds = [os.open(layout.runs, _DIR)]
    try:
        for path in (layout.task_dir(task_id), layout.runs_of(task_id)):
            fds.append(os.open(os.path.basename(path), _DIR, dir_fd=fds[-1]))
        yield fds[-1]
    finally:
        for fd in fds:
            os.close(fd)


def _name_of_aside(layout: Layout, task_id: str) -> str:
    return os.path.basename(layout.removed_of(task_id))


@contextlib.contextmanager
def _aside(name: str, cli: int) -> Iterator[int]:
    """The directory of what was put aside; made anew where another gc has just removed it."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, DIR_MODE, dir_fd=cli)
    fd = os.open(name, _DIR, dir_fd=cli)
    try:
        yield fd
    finally:
        os.close(fd)


def _empty(name: str, cli: int) -> int:
    """Delete everything that was put aside, and then the directory itself; how many runs it was.

    Another gc may delete the same at the same time, or put more there, which it deletes itself.
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
    """Remove an empty directory; False where somebody else has."""
    try:
        os.rmdir(name, dir_fd=fd)
    except NotADirectoryError:
        os.unlink(name, dir_fd=fd)  # a link, which is never followed
    except FileNotFoundError:
        return False
    return True

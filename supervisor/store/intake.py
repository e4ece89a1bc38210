"""Accepts runs: marker first, then the run's directory, built under another name and renamed.

The order makes every crash harmless. A marker without a directory is a run that was not accepted:
its request is still in the inbox and creates it again. A directory without a marker is a run that
history and state contain. One flush of the markers' directory serves a whole request.
"""

import contextlib
import errno
import os
import shutil
from collections.abc import Iterable, Iterator
from typing import Final

from supervisor.store.root_listing import load_newest, tasks
from supervisor.store.run_reader import RunReader
from workers.records.atomic import (
    create_file,
    is_abandoned,
    is_temporary,
    publish_dir,
    replace_file,
    to_bytes,
    write_marker,
)
from workers.records.begun import is_never_begun
from workers.records.caller import sweep_callers
from workers.records.clock import Clock, utc_text
from workers.records.files import DIR_MODE, is_dir, make_dir, make_private, sync_dir
from workers.records.journal import Event, Fact
from workers.records.layout import Layout, RunDir
from workers.records.manifest import Observed, fold_manifest
from workers.records.spec import RunSpec
from workers.records.typed_errors import BadFileError, TypedError

_BEGINNINGS: Final = (Event.RUN_ACCEPTED, Event.RUN_STARTED)


class Intake:
    """Creates run directories. Only the supervisor creates one.

    Args:
        layout: the root.
        clock: the source of instants.
    """

    def __init__(self, layout: Layout, clock: Clock) -> None:
        self._layout = layout
        self._clock = clock
        self._paths: dict[str, set[str]] = {}
        newest = load_newest(layout)
        self._number = 0 if newest is None else newest.number
        make_private(layout.runs, layout.out, layout.control)
        self.make_dirs()

    def make_dirs(self) -> None:
        """Create the missing ones of the supervisor's own directories."""
        layout = self._layout
        make_private(layout.accepted, layout.inbox, layout.rejected)

    def accept(self, specs: Iterable[RunSpec]) -> Iterator[RunReader]:
        """Put runs on disk as queued; runs that have begun are not changed.

        Args:
            specs: runs that are not in the fleet.

        Yields:
            The runs that are queued now, after one flush of their names per task. If a later run is
            refused, the earlier ones are accepted all the same.

        Raises:
            OSError: nothing is lost: the request stays in the inbox and is tried again.
            BadFileError: a foreign file is in a run's place; no run was accepted.
        """
        specs = list(specs)
        for task_id in dict.fromkeys(spec.task_id for spec in specs):
            make_private(self._layout.task_dir(task_id), self._layout.runs_of(task_id))
        new = [spec for spec in specs if self._is_new(spec)]
        self.write_markers(new)
        built: list[RunSpec] = []
        try:
            for spec in new:
                if not self._exists(spec):  # it does if an earlier attempt failed after the rename
                    self._number += 1
                    self._build(spec)
                built.append(spec)
        finally:
            for directory in dict.fromkeys(self._layout.runs_of(s.task_id) for s in built):
                sync_dir(directory)
            self._store_newest(built)
            yield from (RunReader(self._layout, spec) for spec in built)

    def number_from(self, number: int) -> None:
        """Number the next runs after ``number``, that of a run accepted earlier."""
        self._number = max(self._number, number)

    def _store_newest(self, built: list[RunSpec]) -> None:
        """Write ``newest.json``; if the disk refuses, the old one stays: it is a view."""
        top = [spec for spec in built if spec.parent_run_id is None]
        if top:
            newest = {"run_id": top[-1].run_id, "task_id": top[-1].task_id, "number": self._number}
            with contextlib.suppress(OSError, TypedError):
                replace_file(self._layout.newest, to_bytes(newest), flush=False)

    def write_markers(self, specs: list[RunSpec]) -> None:
        """Write the markers of runs, with one flush of their directory."""
        if not specs:
            return
        make_dir(self._layout.accepted)
        for spec in specs:
            write_marker(self._layout.marker(spec.run_id), spec.task_id)
        sync_dir(self._layout.accepted)

    def _is_new(self, spec: RunSpec) -> bool:
        """Whether it is not on disk, or has a marker and has not begun."""
        run = self._run(spec)
        if not self._exists(spec):
            return True
        has_marker = os.path.lexists(self._layout.marker(spec.run_id))
        return has_marker and is_never_begun(run)

    def rebuild(self, reader: RunReader) -> RunReader:
        """Create the deleted directory of a run again, to record a verdict.

        If the run had begun, its new journal says so: it must not begin again if the supervisor
        dies before the verdict. The facts about its stages are lost.

        Raises:
            BlockingIOError: it is still being deleted; try again later.
            OSError: the disk refuses.
            BadFileError: a foreign file is in its place.
        """
        spec = reader.spec
        run = self._run(spec)
        known = tuple(fact for fact in reader.facts if fact.event in _BEGINNINGS)
        if not self._exists(spec):
            self._build(spec, known)
        elif self._is_vanishing(run):
            raise BlockingIOError(errno.EBUSY, "it is being deleted", run.path)
        else:
            make_private(run.path, run.commands)
            for path, data in self._records(run, spec, known):
                if not os.path.lexists(path):
                    replace_file(path, data)
        self._paths.pop(run.run_id, None)
        return RunReader(self._layout, spec)

    def _is_vanishing(self, run: RunDir) -> bool:
        """Whether files of it have disappeared since the last call, or this is the first call."""
        paths = {
            os.path.join(directory, name)
            for directory, folders, files in os.walk(run.path)
            for name in (*folders, *files)
        }
        before = self._paths.get(run.run_id)
        self._paths[run.run_id] = paths
        return before is None or not before <= paths

    def _exists(self, spec: RunSpec) -> bool:
        """Whether the run has its directory; raises BadFileError if it is something else."""
        path = self._run(spec).path
        if is_dir(path) and not os.path.islink(path):
            return True
        if os.path.lexists(path):
            raise BadFileError(path=path, reason="is not a directory")
        return False

    def _run(self, spec: RunSpec) -> RunDir:
        return self._layout.run_dir(spec.task_id, spec.run_id)

    def _build(self, spec: RunSpec, known: tuple[Fact, ...] = ()) -> None:
        built = RunDir(self._run(spec).building)
        _remove(built.path)
        make_private(self._layout.task_dir(spec.task_id), self._layout.runs_of(spec.task_id))
        os.mkdir(built.path, DIR_MODE)
        os.mkdir(built.commands, DIR_MODE)
        for path, data in self._records(built, spec, known):
            create_file(path, data)
        with contextlib.suppress(FileExistsError):
            publish_dir(built.path, self._run(spec).path)

    def _records(
        self, at: RunDir, spec: RunSpec, known: tuple[Fact, ...]
    ) -> list[tuple[str, bytes]]:
        """The files of a run's directory before the run begins: paths and contents."""
        accepted = Fact(
            seq=1,
            at=utc_text(self._clock.epoch_s()),
            mono_s=round(self._clock.mono_s(), 3),
            event=Event.RUN_ACCEPTED,
            by="supervisor",
            data={
                "pipeline": spec.pipeline.id,
                "asked_by": spec.asked_by,
                "number": self._number,
            },
        )
        facts = known or (accepted,)
        manifest = fold_manifest(
            spec, facts, layout=self._layout, observed=Observed(updated_at=accepted.at)
        )
        return [
            (at.spec, to_bytes(spec.to_json())),
            (at.owner, b""),
            (at.journal, b"".join(fact.to_line() for fact in facts)),
            (at.manifest, to_bytes(manifest)),
        ]

    def reject(self, path: str) -> str:
        """Move a file that is not a request out of the inbox, and return its new path.

        Raises:
            OSError: it was not moved.
        """
        make_dir(self._layout.rejected)
        target = os.path.join(self._layout.rejected, os.path.basename(path))
        number = 0
        while os.path.lexists(target):
            number += 1
            target = os.path.join(self._layout.rejected, f"{os.path.basename(path)}.{number}")
        os.rename(path, target)
        return target

    def sweep(self) -> int:
        """Remove temporary files outside of runs, at startup; returns how many.

        Only the supervisor, that is this process, writes in a task's directories.
        """
        layout = self._layout
        count = sweep_callers(layout)
        count += self.sweep_files(layout.inbox, layout.control, layout.callers)
        for task_id in tasks(layout):
            places = (layout.task_dir(task_id), layout.out_dir(task_id))
            count += self.sweep_files(*places, only_writer=True)
        return count

    def sweep_files(self, *directories: str, only_writer: bool = False) -> int:
        """Remove the temporary files of dead writers; returns how many.

        A file that the disk refuses to remove stays until the next sweep.

        Args:
            directories: may be missing.
            only_writer: no other process may write there, so all files but ours are removed.
        """
        is_left = is_temporary if only_writer else is_abandoned
        count = 0
        for directory in directories:
            with contextlib.suppress(OSError):
                for name in os.listdir(directory):
                    if is_left(name):
                        os.unlink(os.path.join(directory, name))
                        count += 1
        return count


def _remove(path: str) -> None:
    """Remove a file or directory. Links are removed, not followed: rmtree works on descriptors."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    except OSError:
        shutil.rmtree(path, ignore_errors=True)

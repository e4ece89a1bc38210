"""Accepting runs: marker first, then the run's directory, built beside its place and renamed.

The order makes every crash harmless: a marker without a directory is a run that was never accepted
(its request is still in the inbox and makes it again), a directory without a marker is a run that
is already in history and state. One flush of the markers' directory serves a whole request.
"""

import contextlib
import errno
import os
import shutil
from collections.abc import Iterable, Iterator
from typing import Final

from supervisor.store.newest_run import Newest, load_newest, store_newest
from supervisor.store.root_listing import tasks
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
from workers.records.typed_errors import BadFileError

_BEGINNINGS: Final = (Event.RUN_ACCEPTED, Event.RUN_STARTED)


class Intake:
    """Makes run directories. Only the supervisor makes one.

    Args:
        layout: the root.
        clock: where instants come from.
    """

    def __init__(self, layout: Layout, clock: Clock) -> None:
        self._layout = layout
        self._clock = clock
        self._left: dict[str, set[str]] = {}
        newest = load_newest(layout)
        self._number = 0 if newest is None else newest.number
        make_private(layout.runs, layout.out, layout.control)
        self.make_dirs()

    def make_dirs(self) -> None:
        """Make the supervisor's own directories where they are missing."""
        layout = self._layout
        make_private(layout.accepted, layout.inbox, layout.rejected)

    def accept(self, specs: Iterable[RunSpec]) -> Iterator[RunReader]:
        """Put runs on disk as queued; what was begun before is left as it is.

        Args:
            specs: runs that the caller does not hold.

        Yields:
            The runs that are queued now, when their names are flushed, once for all of a task:
            where a later one is refused, the earlier ones are accepted all the same.

        Raises:
            OSError: nothing is lost: the request stays in the inbox and is tried again.
            BadFileError: something that is not ours is in the way; no run was accepted.
        """
        specs = list(specs)
        for task_id in dict.fromkeys(spec.task_id for spec in specs):
            make_private(self._layout.task_dir(task_id), self._layout.runs_of(task_id))
        new = [spec for spec in specs if self._is_new(spec)]
        self.mark(new)
        made: list[RunSpec] = []
        try:
            for spec in new:
                if not self._is_made(spec):  # else an earlier try failed behind its rename
                    self._number += 1
                    self._build(spec)
                made.append(spec)
        finally:
            for directory in dict.fromkeys(self._layout.runs_of(s.task_id) for s in made):
                sync_dir(directory)
            self._note_newest(made)
            yield from (RunReader(self._layout, spec) for spec in made)

    def number_from(self, number: int) -> None:
        """Number the next runs behind this number: that of a run that was accepted before."""
        self._number = max(self._number, number)

    def _note_newest(self, made: list[RunSpec]) -> None:
        asked = [spec for spec in made if spec.parent_run_id is None]
        if asked:
            newest, number = asked[-1], self._number
            store_newest(
                self._layout,
                Newest(run_id=newest.run_id, task_id=newest.task_id, number=number),
            )

    def mark(self, specs: list[RunSpec]) -> None:
        """Make the markers of runs, with one flush of their directory for all."""
        if specs:
            make_dir(self._layout.accepted)
        for spec in specs:
            write_marker(self._layout.marker(spec.run_id), spec.task_id)
        if specs:
            sync_dir(self._layout.accepted)

    def _is_new(self, spec: RunSpec) -> bool:
        """Not on disk; or marked and built, but nothing of it has begun."""
        run = self._run(spec)
        if not self._is_made(spec):
            return True
        if not os.path.lexists(self._layout.marker(spec.run_id)):
            return False
        return is_never_begun(run)

    def rebuild(self, reader: RunReader) -> RunReader:
        """Make the directory of a run whole again, for a verdict about one that was deleted.

        Its new journal tells that the run had begun, where it had: so it never begins again,
        whatever becomes of us before the verdict. Of its stages there is nothing left to tell.

        Raises:
            BlockingIOError: somebody is still deleting it; ask again a little later.
            OSError: the disk refuses.
            BadFileError: something that is not ours is in its place.
        """
        spec = reader.spec
        run = self._run(spec)
        known = tuple(fact for fact in reader.facts if fact.event in _BEGINNINGS)
        if not self._is_made(spec):
            self._build(spec, known)
        elif self._is_vanishing(run):
            raise BlockingIOError(errno.EBUSY, "it is being deleted", run.path)
        else:
            make_private(run.path, run.commands)
            for path, data in self._records(run, spec, known):
                if not os.path.lexists(path):
                    replace_file(path, data)
        self._left.pop(run.run_id, None)
        return RunReader(self._layout, spec)

    def _is_vanishing(self, run: RunDir) -> bool:
        """Tell whether something of it went since the last look, or nobody has looked yet."""
        left = {
            os.path.join(directory, name)
            for directory, folders, files in os.walk(run.path)
            for name in (*folders, *files)
        }
        before = self._left.get(run.run_id)
        self._left[run.run_id] = left
        return before is None or not before <= left

    def _is_made(self, spec: RunSpec) -> bool:
        """Tell whether the run has its directory; BadFileError where something else is there."""
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
        """What a run's directory holds before the run begins: paths and contents."""
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
        """Set a file aside that is no request, and return where it is now.

        Raises:
            OSError: it is still where it was.
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
        """Remove temporary files outside of runs, at startup; returns how many there were.

        In a task's directories only the supervisor writes, and that is us now.
        """
        layout = self._layout
        count = sweep_callers(layout)
        count += self.sweep_files(layout.inbox, layout.control, layout.callers)
        for task_id in tasks(layout):
            places = (layout.task_dir(task_id), layout.out_dir(task_id))
            count += self.sweep_files(*places, only_writer=True)
        return count

    def sweep_files(self, *directories: str, only_writer: bool = False) -> int:
        """Remove the temporary files of dead writers, and return how many there were.

        What the disk refuses to remove stays until the next sweep; it is in nobody's way.

        Args:
            directories: where to look; one that is missing holds nothing.
            only_writer: nobody but us may write there, so the files of all others are removed.
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
    """Remove whatever is there. Links are removed, never followed: rmtree works on descriptors."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    except OSError:
        shutil.rmtree(path, ignore_errors=True)

"""Accepting runs: marker first, then the run's directory, built aside and renamed into place.

The order makes every crash harmless: a marker without a directory is a run that was never accepted
(its request is still in the inbox and makes it again), a directory without a marker is a run that
is already in history and state. One flush of the markers' directory serves a whole request.
"""

import contextlib
import os
import shutil
from collections.abc import Iterable

from supervisor.edge.run_reader import RunReader
from workers.records.atomic import create_file, is_abandoned, publish_dir, to_bytes
from workers.records.clock import Clock, utc_text
from workers.records.errors import BadFileError
from workers.records.files import DIR_MODE, make_private, open_regular, sync_dir
from workers.records.journal import Event, Fact
from workers.records.layout import Layout, RunDir
from workers.records.manifest import Observed, fold_manifest
from workers.records.spec import RunSpec


class Intake:
    """Makes run directories. Only the supervisor makes one.

    Args:
        layout: the root.
        clock: where instants come from.
    """

    def __init__(self, layout: Layout, clock: Clock) -> None:
        self._layout = layout
        self._clock = clock
        make_private(layout.runs, layout.out, layout.control)
        make_private(layout.accepted, layout.building, layout.inbox, layout.rejected)

    def accept(self, specs: Iterable[RunSpec]) -> list[RunReader]:
        """Put runs on disk as queued; what was accepted before is left as it is.

        Returns:
            The runs that are new.

        Raises:
            OSError: nothing is lost: the request stays in the inbox and is tried again.
            BadFileError: something that is not ours is in the way; no run was accepted.
        """
        specs = list(specs)
        for task_id in dict.fromkeys(spec.task_id for spec in specs):
            make_private(self._layout.task_dir(task_id), self._layout.runs_of(task_id))
        new = [spec for spec in specs if not self._is_made(spec)]
        for spec in new:
            fd = open_regular(self._layout.marker(spec.run_id), os.O_WRONLY | os.O_CREAT)
            try:
                os.write(fd, f"{spec.task_id}\n".encode())
                os.fdatasync(fd)
            finally:
                os.close(fd)
        if new:
            sync_dir(self._layout.accepted)
        for spec in new:
            self._build(spec)
        return [RunReader(self._layout, spec) for spec in new]

    def rebuild(self, spec: RunSpec) -> RunReader:
        """Make a run's directory anew, for a verdict about one that was deleted."""
        if not self._is_made(spec):
            self._build(spec)
        return RunReader(self._layout, spec)

    def _is_made(self, spec: RunSpec) -> bool:
        """Tell whether the run has its directory; BadFileError where something else is there."""
        path = self._run(spec).path
        if os.path.isdir(path) and not os.path.islink(path):
            return True
        if os.path.lexists(path):
            raise BadFileError(path=path, why="is not a directory")
        return False

    def _run(self, spec: RunSpec) -> RunDir:
        return self._layout.run_dir(spec.task_id, spec.run_id)

    def _build(self, spec: RunSpec) -> None:
        built = RunDir(os.path.join(self._layout.building, spec.run_id))
        _remove(built.path)
        os.mkdir(built.path, DIR_MODE)
        os.mkdir(built.commands, DIR_MODE)
        os.mkdir(built.errors, DIR_MODE)
        accepted = Fact(
            seq=1,
            at=utc_text(self._clock.epoch_s()),
            mono_s=round(self._clock.mono_s(), 3),
            event=Event.RUN_ACCEPTED,
            by="supervisor",
            data={"pipeline": spec.pipeline.id, "asked_by": spec.asked_by},
        )
        manifest = fold_manifest(
            spec, [accepted], layout=self._layout, observed=Observed(updated_at=accepted.at)
        )
        create_file(built.spec, to_bytes(spec.to_json()))
        create_file(built.owner, b"")
        create_file(built.journal, accepted.to_line())
        create_file(built.manifest, to_bytes(manifest))
        with contextlib.suppress(FileExistsError):
            publish_dir(built.path, self._run(spec).path)

    def reject(self, path: str) -> str:
        """Set a file aside that is no request, and return where it is now."""
        target = os.path.join(self._layout.rejected, os.path.basename(path))
        number = 0
        while os.path.lexists(target):
            number += 1
            target = os.path.join(self._layout.rejected, f"{os.path.basename(path)}.{number}")
        os.rename(path, target)
        return target

    def sweep(self) -> int:
        """Remove what dead writers left half built, and return how much it was."""
        count = 0
        for name in os.listdir(self._layout.building):
            _remove(os.path.join(self._layout.building, name))
            count += 1
        return count + self.sweep_files(self._layout.inbox, self._layout.control)

    def sweep_files(self, *directories: str) -> int:
        """Remove the temporary files of dead writers, and return how many there were."""
        count = 0
        for directory in directories:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                for name in os.listdir(directory):
                    if is_abandoned(name):
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

"""Repair what ``verify`` reports, while no supervisor serves the root.

A repair loses nothing: each file that is moved or written again is first saved, under its own path,
in ``.runs/.supervisor/repaired/<instant>/``. Journals override manifests, histories and views; of
several verdicts the first one counts. An unfinished run without a marker gets it back, and the next
start finishes it. Some things only a person can decide; they are reported: foreign owners, missing
output, unreadable specs.
"""

import contextlib
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from typing import Any, Final

from supervisor.daemon.restore import restored_verdict
from supervisor.report.verify.verify_root import verify
from supervisor.report.verify.verify_run import RepairKind, Violation
from supervisor.store.intake import Intake
from supervisor.store.persistence import PersistenceCoordinator
from supervisor.store.run_reader import RunReader
from workers.records.atomic import replace_file, to_line
from workers.records.dataclass import dataclass
from workers.records.files import DIR_MODE, FILE_MODE, make_private, read_object, sync_dir
from workers.records.flock import take_flock
from workers.records.history import STATUSES, history_line, lines_of_runs, read_lines
from workers.records.journal import (
    FROM_HISTORY,
    Event,
    Fact,
    JournalReader,
    read_journal,
    verdict_in,
)
from workers.records.layout import Layout
from workers.records.manifest import FINAL
from workers.records.request import now_text
from workers.records.spec import load_spec
from workers.records.typed_errors import BadFileError, TypedError

_ROUNDS_COUNT: Final = 6  # a repair may uncover another: a manifest, its history, its views
_REASON: Final = "restored by a repair: the journal had lost its verdict"


@dataclass(frozen=True, slots=True, kw_only=True)
class Repaired:
    """One repair.

    Attributes:
        path: the record.
        what: the problem.
        done: the repair.
    """

    path: str
    what: str
    done: str


class Repair:
    """Repairs one root. Only the holder of the lease has one.

    Args:
        layout: the root.
        intake: writes markers.
        persistence: builds what writes manifests and histories.

    Attributes:
        saved_in: the directory of the saved files.
    """

    def __init__(
        self, layout: Layout, intake: Intake, persistence: Callable[[], PersistenceCoordinator]
    ) -> None:
        self._layout = layout
        self._intake = intake
        self._new_persistence = persistence
        self._persistence = persistence()
        stamp = now_text().replace(":", "-").replace(".", "-")
        self.saved_in = os.path.join(layout.repaired, stamp)

    def run(self) -> Iterator[Repaired]:
        """Repair until nothing more can be repaired.

        Yields:
            Each repair.

        Raises:
            OSError, BadFileError: the disk refuses; earlier repairs are complete.
        """
        tried: set[tuple[str, str]] = set()
        for _ in range(_ROUNDS_COUNT):
            problems = [item for item in verify(self._layout) if item.repair is not None]
            problems = [item for item in problems if (item.path, item.problem) not in tried]
            if not problems:
                return
            self._persistence = self._new_persistence()  # the old one has cached old records
            handled: set[tuple[RepairKind, str, str]] = set()
            for item in problems:
                tried.add((item.path, item.problem))
                done = self._one(item, handled)
                if done is not None:
                    yield Repaired(path=item.path, what=item.problem, done=done)

    def _one(self, item: Violation, handled: set[tuple[RepairKind, str, str]]) -> str | None:
        """Repair one problem and return what was done, None if nothing could be.

        A run, a history and the views of a task are repaired as a whole, once per round.
        """
        match item.repair:
            case RepairKind.MODE:
                return self._fix_mode(item.path)
            case RepairKind.DELETE:
                self._sweep(item.path)
                return "removed: its writer is dead"
            case RepairKind.QUARANTINE:
                return self._move_away(item.path)
            case None:
                return None
        is_run = item.repair is RepairKind.RUN
        key = (item.repair, item.task_id, item.run_id if is_run else "")
        if key in handled:
            return "repaired together with the problem above"
        if is_run:
            done = self._repair_run(item.task_id, item.run_id)
        elif item.repair is RepairKind.HISTORY:
            done = self._rewrite_history(item.task_id)
        else:
            done = self._rewrite_views(item.task_id)
        if done is not None:
            handled.add(key)
        return done

    def _fix_mode(self, path: str) -> str | None:
        status = os.lstat(path)
        if status.st_uid != os.geteuid() or stat.S_ISLNK(status.st_mode):
            return None
        mode = DIR_MODE if stat.S_ISDIR(status.st_mode) else FILE_MODE
        os.chmod(path, mode)
        return f"its mode is {mode:o} now"

    def _sweep(self, path: str) -> None:
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path, ignore_errors=True)
        else:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)

    def _saved_path(self, path: str) -> str:
        """A free path for a saved file, in a directory that exists."""
        target = os.path.join(self.saved_in, self._layout.relative(path))
        folder = self._layout.control
        for part in os.path.relpath(os.path.dirname(target), folder).split(os.sep):
            folder = os.path.join(folder, part)
            make_private(folder)
        number, free = 0, target
        while os.path.lexists(free):
            number += 1
            free = f"{target}.{number}"
        return free

    def _move_away(self, path: str) -> str | None:
        if not os.path.lexists(path):
            return None
        target = self._saved_path(path)
        os.rename(path, target)
        sync_dir(os.path.dirname(path))
        sync_dir(os.path.dirname(target))
        return f"moved to {self._layout.relative(target)}"

    def _save(self, path: str) -> None:
        """Link a file that is about to be replaced to its saved path."""
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISREG(os.lstat(path).st_mode):
                self._move_away(path)
                return
            target = self._saved_path(path)
            os.link(path, target, follow_symlinks=False)
            sync_dir(os.path.dirname(target))

    def _repair_run(self, task_id: str, run_id: str) -> str | None:
        """Make the journal, manifest and history of one run agree."""
        layout = self._layout
        run = layout.run_dir(task_id, run_id)
        try:
            spec = load_spec(run.spec)
        except (OSError, TypedError):
            return None
        with contextlib.suppress(BadFileError):
            owner_fd = take_flock(run.owner) if os.path.lexists(run.owner) else -1
            if owner_fd is None:
                return None  # a worker is alive
            if owner_fd >= 0:
                os.close(owner_fd)  # only the lease's holder starts workers
        done = []
        if self._rewrite_journal(task_id, run_id):
            done.append("journal written again")
        reader = RunReader(layout, spec)
        reader.read()
        reader.close()
        if reader.verdict is None:
            if os.path.lexists(layout.marker(run_id)):
                return None
            self._intake.write_markers([spec])
            return "; ".join([*done, "marker restored: the next start finishes the run"])
        self._save(run.manifest)
        self._persistence.rewrite_manifest(reader)
        done.append("manifest written again")
        if not lines_of_runs(layout.history(task_id), [run_id]):
            self._persistence.restore_lines([reader])
            done.append("added to the history")
        return "; ".join(done)

    def _rewrite_journal(self, task_id: str, run_id: str) -> bool:
        """Write a journal again with its good lines and one verdict; False if it is in order.

        A lost verdict is taken from the history, else from the manifest.
        """
        run = self._layout.run_dir(task_id, run_id)
        reader = JournalReader(run.journal)
        facts: list[Fact] = []
        with contextlib.suppress(OSError, TypedError):
            facts = reader.read_new()
        first = verdict_in(facts)
        good = facts if first is None else facts[: facts.index(first) + 1]
        verdict = None if first is not None else self._lost_verdict(task_id, run_id)
        numbers = [fact.seq for fact in facts]
        in_order = numbers == sorted(set(numbers)) and len(good) == len(facts)
        if (
            verdict is None
            and in_order
            and not reader.bad_lines_count
            and os.path.exists(run.journal)
        ):
            return False
        lines = [
            {**_line(fact), "seq": number}
            for number, fact in enumerate((*good, *(() if verdict is None else (verdict,))), 1)
        ]
        self._save(run.journal)
        replace_file(run.journal, b"".join(map(to_line, lines)))
        return True

    def _lost_verdict(self, task_id: str, run_id: str) -> Fact | None:
        layout = self._layout
        line = lines_of_runs(layout.history(task_id), [run_id]).get(run_id)
        if line is not None and line.get("status") in STATUSES:
            status, detail, at = line["status"], line.get("statusDetail"), line.get("timestamp")
            duration_s = line.get("durationSeconds")
        else:
            try:
                manifest = read_object(layout.run_dir(task_id, run_id).manifest)
            except (OSError, TypedError):
                return None
            if manifest.get("status") not in FINAL:
                return None
            extensions = manifest.get("extensions")
            more: dict[str, Any] = extensions if isinstance(extensions, dict) else {}
            status, detail = manifest["status"], manifest.get("status_detail")
            at, duration_s = manifest.get("completed_at"), more.get("duration_s")
        return Fact(
            seq=1,
            at=at if isinstance(at, str) else now_text(),
            mono_s=0.0,
            event=Event.VERDICT,
            by="supervisor",
            data=restored_verdict(status, detail, duration_s, reason=_REASON),
        )

    def _rewrite_history(self, task_id: str) -> str | None:
        """Write a history again: one line per run, the first one, corrected by its journal."""
        layout = self._layout
        path = layout.history(task_id)
        lines: dict[str, dict[str, Any]] = {}
        with contextlib.suppress(BadFileError):
            for _, line in read_lines(path):
                run_id = str(line.get("runId"))
                if line.get("taskId") == task_id and line.get("status") in STATUSES:
                    lines.setdefault(run_id, line)
        for run_id, line in lines.items():
            lines[run_id] = self._corrected(task_id, run_id, line)
        self._save(path)
        make_private(os.path.dirname(path))
        replace_file(path, b"".join(map(to_line, lines.values())))
        self._rewrite_views(task_id)
        return "history written again, one line for each run, and state and metrics from it"

    def _corrected(self, task_id: str, run_id: str, line: dict[str, Any]) -> dict[str, Any]:
        """A line as its run's manifest has it, if that is final and its verdict is original."""
        run = self._layout.run_dir(task_id, run_id)
        with contextlib.suppress(OSError, TypedError, KeyError, TypeError):
            verdict = verdict_in(read_journal(run.journal))
            manifest = read_object(run.manifest)
            if verdict is None or verdict.data.get(FROM_HISTORY) or manifest["status"] not in FINAL:
                return line
            return {**line, **history_line(manifest, self._layout.relative(run.manifest))}
        return line

    def _rewrite_views(self, task_id: str) -> str:
        for path in (self._layout.state(task_id), self._layout.metrics(task_id)):
            self._save(path)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        self._new_persistence().store(task_id).write_snapshot()
        return "state and metrics written again from the history"


def _line(fact: Fact) -> dict[str, Any]:
    head = {"seq": fact.seq, "at": fact.at, "mono_s": fact.mono_s}
    return {**head, "event": fact.event, "by": fact.by, **fact.data}

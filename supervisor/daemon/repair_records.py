"""Repairing what ``verify`` reports, while nobody serves the root.

Nothing is lost by a repair: whatever is moved or written again is first kept, under its own path,
in ``.runs/.supervisor/repaired/<instant>/``. The journals win over manifests, histories and views;
of several verdicts the first one stands. A run that nobody would finish gets its marker back, and
the next start finishes it. What only a person can decide is left and reported: foreign owners,
output that is missing, specs that cannot be read.
"""

import contextlib
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from typing import Any, Final

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

_ROUNDS_COUNT: Final = 6  # a repair may show what it hid: a manifest, then its history, then views
_REASON: Final = "written back by a repair: the journal had lost its verdict"


@dataclass(frozen=True, slots=True, kw_only=True)
class Repaired:
    """One thing that was done.

    Attributes:
        path: the record.
        what: what was wrong with it.
        done: what was done about it.
    """

    path: str
    what: str
    done: str


class Repair:
    """Repairs one root. Only the holder of the lease makes one.

    Args:
        layout: the root.
        intake: gives markers back.
        persistence: writes manifests and histories.
    """

    def __init__(
        self, layout: Layout, intake: Intake, persistence: Callable[[], PersistenceCoordinator]
    ) -> None:
        self._layout = layout
        self._intake = intake
        self._new_persistence = persistence
        self._persistence = persistence()
        stamp = now_text().replace(":", "-").replace(".", "-")
        self.kept_in = os.path.join(layout.repaired, stamp)

    def run(self) -> Iterator[Repaired]:
        """Repair until nothing is left that can be repaired.

        Yields:
            Each thing that was done.

        Raises:
            OSError, BadFileError: the disk refuses; what was done so far stands.
        """
        tried: set[tuple[str, str]] = set()
        for _ in range(_ROUNDS_COUNT):
            found = [item for item in verify(self._layout) if item.repair is not None]
            found = [item for item in found if (item.path, item.problem) not in tried]
            if not found:
                return
            self._persistence = self._new_persistence()  # it has read what is about to change
            handled: set[tuple[RepairKind, str, str]] = set()
            for item in found:
                tried.add((item.path, item.problem))
                done = self._one(item, handled)
                if done is not None:
                    yield Repaired(path=item.path, what=item.problem, done=done)

    def _one(self, item: Violation, handled: set[tuple[RepairKind, str, str]]) -> str | None:
        """Repair one thing; what was done, None if nothing could be.

        A run, a history and views are repaired as a whole, once in a round.
        """
        match item.repair:
            case RepairKind.MODE:
                return self._mode(item.path)
            case RepairKind.DELETE:
                self._sweep(item.path)
                return "removed: its writer is dead"
            case RepairKind.QUARANTINE:
                return self._aside(item.path)
            case RepairKind.RUN | RepairKind.HISTORY | RepairKind.VIEWS as mend:
                key = (mend, item.task_id, item.run_id if mend is RepairKind.RUN else "")
                if key in handled:
                    return "repaired together with the line above"
                done = self._whole(mend, item)
                if done is not None:
                    handled.add(key)
                return done
        return None

    def _whole(self, mend: RepairKind, item: Violation) -> str | None:
        match mend:
            case RepairKind.RUN:
                return self._run(item.task_id, item.run_id)
            case RepairKind.HISTORY:
                return self._history(item.task_id)
            case _:
                return self._views(item.task_id)

    def _mode(self, path: str) -> str | None:
        found = os.lstat(path)
        if found.st_uid != os.geteuid() or stat.S_ISLNK(found.st_mode):
            return None
        mode = DIR_MODE if stat.S_ISDIR(found.st_mode) else FILE_MODE
        os.chmod(path, mode)
        return f"its mode is {mode:o} now"

    def _sweep(self, path: str) -> None:
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path, ignore_errors=True)
        else:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)

    def _place(self, path: str) -> str:
        """Where a record is kept, under its own path; its directory exists."""
        place = os.path.join(self.kept_in, self._layout.relative(path))
        made = self._layout.control
        for part in os.path.relpath(os.path.dirname(place), made).split(os.sep):
            made = os.path.join(made, part)
            make_private(made)
        number = 0
        free = place
        while os.path.lexists(free):
            number += 1
            free = f"{place}.{number}"
        return free

    def _aside(self, path: str) -> str | None:
        if not os.path.lexists(path):
            return None
        place = self._place(path)
        os.rename(path, place)
        sync_dir(os.path.dirname(path))
        sync_dir(os.path.dirname(place))
        return f"moved to {self._layout.relative(place)}"

    def _keep(self, path: str) -> None:
        """Give a file that is about to be replaced a second name in the safe place."""
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISREG(os.lstat(path).st_mode):
                self._aside(path)
                return
            place = self._place(path)
            os.link(path, place, follow_symlinks=False)
            sync_dir(os.path.dirname(place))

    def _run(self, task_id: str, run_id: str) -> str | None:
        """Make journal, manifest and history of one run agree."""
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
                os.close(owner_fd)  # nobody but the lease's holder starts workers
        done = []
        if self._journal(task_id, run_id):
            done.append("journal written again")
        reader = RunReader(layout, spec)
        reader.read()
        reader.close()
        if reader.verdict is None:
            if os.path.lexists(layout.marker(run_id)):
                return None
            self._intake.mark([spec])
            return "; ".join([*done, "marker given back: the next start finishes it"])
        self._keep(run.manifest)
        self._persistence.rewrite_manifest(reader)
        done.append("manifest written again")
        if not lines_of_runs(layout.history(task_id), [run_id]):
            self._persistence.restore_lines([reader])
            done.append("added to the history")
        return "; ".join(done)

    def _journal(self, task_id: str, run_id: str) -> bool:
        """Write a journal again, of its good lines and with one verdict; False if it is in order.

        A verdict that it lost is taken from the history, else from the manifest.
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
        self._keep(run.journal)
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
            data={
                "status": status,
                "detail": detail if isinstance(detail, str) else None,
                "reason": _REASON,
                "summary": None,
                "duration_s": duration_s if isinstance(duration_s, int | float) else None,
                "leftover_pids": [],
                FROM_HISTORY: True,
            },
        )

    def _history(self, task_id: str) -> str | None:
        """Write a history again: one line for each run, the first one, as its journal tells it."""
        layout = self._layout
        path = layout.history(task_id)
        lines: dict[str, dict[str, Any]] = {}
        with contextlib.suppress(BadFileError):
            for _, line in read_lines(path):
                run_id = str(line.get("runId"))
                if line.get("taskId") == task_id and line.get("status") in STATUSES:
                    lines.setdefault(run_id, line)
        for run_id, line in lines.items():
            lines[run_id] = self._told(task_id, run_id, line)
        self._keep(path)
        make_private(os.path.dirname(path))
        replace_file(path, b"".join(map(to_line, lines.values())))
        self._views(task_id)
        return "history written again, one line for each run, and state and metrics from it"

    def _told(self, task_id: str, run_id: str, line: dict[str, Any]) -> dict[str, Any]:
        """A line as its run's manifest tells it, if that is final and has a verdict of its own."""
        run = self._layout.run_dir(task_id, run_id)
        with contextlib.suppress(OSError, TypedError, KeyError, TypeError):
            verdict = verdict_in(read_journal(run.journal))
            manifest = read_object(run.manifest)
            if verdict is None or verdict.data.get(FROM_HISTORY) or manifest["status"] not in FINAL:
                return line
            told = history_line(manifest, self._layout.relative(run.manifest))
            return {**line, **told}
        return line

    def _views(self, task_id: str) -> str:
        for path in (self._layout.state(task_id), self._layout.metrics(task_id)):
            self._keep(path)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        self._new_persistence().store(task_id).write_snapshot()
        return "state and metrics written again from the history"


def _line(fact: Fact) -> dict[str, Any]:
    head = {"seq": fact.seq, "at": fact.at, "mono_s": fact.mono_s}
    return {**head, "event": fact.event, "by": fact.by, **fact.data}

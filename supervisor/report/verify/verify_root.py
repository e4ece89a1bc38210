"""Check every record under a root against the invariants. Reads only; repairs nothing.

A live supervisor may be changing the records of a run that has a marker, so these are checked only
for what must hold at every instant. This module checks places, owners, modes, and the history,
state and metrics of each task; ``verify_run`` checks one run.
"""

import os
import re
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final

from supervisor.core.policy.task_metrics import Totals
from supervisor.report.read.run_rows import check_status
from supervisor.report.verify.verify_run import (
    RepairKind,
    Violation,
    check_record,
    check_run,
    violation_of,
)
from supervisor.store.pause_file import pauses_in_force
from supervisor.store.root_listing import tasks
from workers.records.atomic import is_abandoned
from workers.records.files import DIR_MODE, FILE_MODE, read_object
from workers.records.history import STATUSES, count_lines, read_lines
from workers.records.identity import Identity
from workers.records.ids import is_run_id
from workers.records.json_reader import JsonReader
from workers.records.layout import Layout
from workers.records.request import pending_requests
from workers.records.typed_errors import TypedError

_QUARANTINED: Final = re.compile(r"\.(invalid|corrupt)-\d+$")


def verify(layout: Layout) -> Iterator[Violation]:
    """Check everything under a root.

    Yields:
        Each violation of an invariant.
    """
    yield from _files(layout)
    yield from _supervisor_records(layout)
    markers = set(_names(layout.accepted))
    try:
        names = tasks(layout)
    except OSError:
        return  # reported by _files
    for task_id in names:
        yield from _task(layout, task_id, markers)
    yield from _markers(layout, markers)


def _supervisor_records(layout: Layout) -> Iterator[Violation]:
    yield from check_record(layout.status, check_status)
    yield from check_record(layout.lease, _check_lease)
    try:
        _, damage = pauses_in_force(layout)
    except (OSError, TypedError) as error:
        yield violation_of(layout.paused, error)
    else:
        if damage is not None:
            yield violation_of(layout.paused, damage)


def _check_lease(read: JsonReader) -> None:
    Identity.from_fields(read.child("identity"))
    read.text_or_none("since")


def _files(layout: Layout) -> Iterator[Violation]:
    """Files and directories are private and ours; there is nothing else, and no partial file."""
    for top in (layout.runs, layout.out):
        errors: list[OSError] = []
        for directory, folders, files in os.walk(top, onerror=errors.append):
            if directory in (layout.rejected, layout.repaired):  # these are not records any more
                folders.clear()
                continue
            for name in (*folders, *files):
                path = os.path.join(directory, name)
                try:
                    status = os.lstat(path)
                except FileNotFoundError:
                    continue
                problem = _file_problem(status)
                if problem is not None and path != os.path.join(layout.runs, ".gitignore"):
                    yield Violation(path, problem, repair=_file_repair(status))
                if is_abandoned(name):
                    problem = "is a partial file of a writer that has died"
                    yield Violation(path, problem, repair=RepairKind.DELETE)
                if _QUARANTINED.search(name):
                    problem = "is quarantined: it was in the place of a record"
                    yield Violation(path, problem, repair=RepairKind.QUARANTINE)
        for error in errors:
            if not isinstance(error, FileNotFoundError):
                yield Violation(str(error.filename), f"cannot be read: {error.strerror}")


def _names(directory: str) -> list[str]:
    """The names in a directory; none if it cannot be read, which _files reports."""
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []


def _file_repair(status: os.stat_result) -> RepairKind | None:
    if status.st_uid != os.geteuid():
        return None
    is_plain = stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)
    return RepairKind.MODE if is_plain else RepairKind.QUARANTINE


def _file_problem(status: os.stat_result) -> str | None:
    mode, is_dir = stat.S_IMODE(status.st_mode), stat.S_ISDIR(status.st_mode)
    if stat.S_ISLNK(status.st_mode):
        return "is a symbolic link"
    if not is_dir and not stat.S_ISREG(status.st_mode):
        return "is neither a file nor a directory"
    if status.st_uid != os.geteuid():
        return f"belongs to another user (uid {status.st_uid})"
    if mode & 0o077:
        return f"is accessible to other users (mode {mode:o})"
    expected = DIR_MODE if is_dir else FILE_MODE
    return None if mode == expected else f"has mode {mode:o}, not {expected:o}"


def _markers(layout: Layout, markers: set[str]) -> Iterator[Violation]:
    """Each marker belongs to a run that has a directory or a request."""
    known = {name for task_id in tasks(layout) for name in _names(layout.runs_of(task_id))}
    known |= {spec.run_id for request in pending_requests(layout) for spec in request.runs}
    for name in sorted(markers):
        path = os.path.join(layout.accepted, name)
        if not is_run_id(name):
            yield Violation(path, "has a name that is no run id", repair=RepairKind.QUARANTINE)
        elif name not in known and os.path.lexists(path):
            problem = "is the marker of a run that has no directory and no request"
            yield Violation(path, problem, repair=RepairKind.QUARANTINE)


@dataclass(slots=True)
class _History:
    """A task's history.

    Attributes:
        lines: its lines, each with the offset of its end.
        by_run: the last line of each run.
        offset: the end of the last line that was read.
        bad_count: complete lines that did not parse at the first reading.
    """

    path: str
    lines: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    by_run: dict[str, dict[str, Any]] = field(default_factory=dict)
    offset: int = 0
    bad_count: int = 0

    def read_first(self) -> None:
        """Read it for the first time; BadFileError if it is not a regular file."""
        count = count_lines(self.path)
        self.read_new()
        self.bad_count = max(0, count - len(self.lines))

    def read_new(self) -> None:
        """Read the lines since the last call."""
        for offset, line in read_lines(self.path, self.offset):
            self.lines.append((offset, line))
            self.by_run[str(line.get("runId"))] = line
            self.offset = offset

    def line_of(self, run_id: str) -> dict[str, Any] | None:
        """A run's line, even if it was appended meanwhile."""
        if run_id not in self.by_run:
            self.read_new()
        return self.by_run.get(run_id)


def _task(layout: Layout, task_id: str, markers: set[str]) -> Iterator[Violation]:
    state, metrics = _read(layout.state(task_id)), _read(layout.metrics(task_id))
    history = _History(layout.history(task_id))
    try:
        history.read_first()
    except (OSError, TypedError) as error:
        violation = violation_of(history.path, error)
        yield replace(violation, repair=RepairKind.HISTORY, task_id=task_id)
        return
    for item in _check_history(task_id, history):
        yield replace(item, repair=RepairKind.HISTORY, task_id=task_id)
    for item in _views(layout, task_id, state, metrics, history, markers):
        yield replace(item, repair=RepairKind.VIEWS, task_id=task_id)
    directory = layout.runs_of(task_id)
    for name in _names(directory):
        path, built = os.path.join(directory, name), name[1:].removesuffix(".building")
        if name.endswith(".building") and is_run_id(built):
            if built not in markers:
                problem = "is an unfinished run directory of a supervisor that has died"
                yield Violation(path, problem, repair=RepairKind.DELETE)
        elif path == layout.removed_of(task_id):
            continue  # being deleted, now or by the next start
        elif not is_run_id(name):
            yield Violation(path, "has a name that is no run id", repair=RepairKind.QUARANTINE)
        else:
            marked = name in markers or os.path.lexists(layout.marker(name))
            yield from check_run(layout, task_id, name, marked=marked, recorded=history.line_of)


def _read(path: str) -> dict[str, Any] | Violation | None:
    """A view, a violation if it cannot be read, or None if it is missing."""
    try:
        return read_object(path)
    except FileNotFoundError:
        return None
    except (OSError, TypedError) as error:
        return violation_of(path, error)


def _views(
    layout: Layout,
    task_id: str,
    state: dict[str, Any] | Violation | None,
    metrics: dict[str, Any] | Violation | None,
    history: _History,
    markers: set[str],
) -> Iterator[Violation]:
    """State and metrics agree with the history."""
    yield from (view for view in (state, metrics) if isinstance(view, Violation))
    if isinstance(state, dict):
        yield from _check_state(layout.state(task_id), task_id, state, history, markers)
    elif state is None and any(str(n.get("runId")) not in markers for _, n in history.lines):
        count = len(history.lines)
        yield Violation(layout.state(task_id), f"is missing although {count} runs have finished")
    if isinstance(metrics, dict):
        yield from _check_metrics(layout.metrics(task_id), metrics, history)


def _check_history(task_id: str, history: _History) -> Iterator[Violation]:
    counts = Counter(str(line.get("runId")) for _, line in history.lines)
    for run_id, count in counts.items():
        if count > 1:
            yield Violation(history.path, f"has run {run_id} {count} times")
    for _, line in history.lines:
        if line.get("taskId") != task_id or line.get("status") not in STATUSES:
            problem = f"has a line of run {line.get('runId')} that does not belong to this task"
            yield Violation(history.path, problem)
    if history.bad_count:
        yield Violation(history.path, f"has {history.bad_count} lines that do not parse")


def _check_state(
    path: str, task_id: str, state: dict[str, Any], history: _History, markers: set[str]
) -> Iterator[Violation]:
    """The state agrees with the history up to ``historyBytes`` and lacks no recorded run."""
    runs = state.get("runs")
    covered: Any = state.get("historyBytes")
    if state.get("taskId") != task_id or not isinstance(runs, list):
        yield Violation(path, "is not a state of this task")
        return
    if not isinstance(covered, int):
        yield Violation(path, "does not record how much of the history it covers")
        covered = history.offset
    elif covered not in {0, *(offset for offset, _ in history.lines)}:
        problem = f"covers {covered} bytes of the history, which is not the end of a line"
        yield Violation(path, problem)
        covered = history.offset
    known = [line for offset, line in history.lines if offset <= covered]
    ids = [str(run.get("runId")) for run in runs if isinstance(run, dict)]
    if len(ids) != len(set(ids)):
        yield Violation(path, "has a run twice")
    newest = {str(line.get("runId")): line for line in known[len(known) - len(ids) :]}
    later = [line for offset, line in history.lines if offset > covered]
    for line in (*newest.values(), *later):
        run_id = str(line.get("runId"))
        if run_id not in ids and (run_id in newest or run_id not in markers):
            yield Violation(path, f"lacks run {run_id}, which is in the history")
    for run in runs:
        run_id = str(run.get("runId") if isinstance(run, dict) else run)
        if newest.get(run_id, run) != run:
            yield Violation(path, f"differs from the history in run {run_id}")
        elif run_id not in newest:
            yield Violation(path, f"has run {run_id}, which is not among the history's newest")
    if [i for i in ids if i in newest] != [i for i in newest if i in ids]:
        yield Violation(path, "has runs in another order than the history")
    counts = Counter(str(line.get("status")) for line in known)
    expected = {"runs": len(known), **{status: counts[status] for status in STATUSES}}
    totals = state.get("totals")
    if totals != expected:
        count = totals.get("runs") if isinstance(totals, dict) else totals
        yield Violation(path, f"counts {count} runs, the history has {len(known)}: {expected}")


def _check_metrics(path: str, metrics: dict[str, Any], history: _History) -> Iterator[Violation]:
    """The totals are the sum of the history up to ``history_bytes``."""
    covered = metrics.get("history_bytes")
    totals = Totals()
    for offset, line in history.lines:
        if isinstance(covered, int) and offset <= covered:
            totals = totals.add(line)
    if metrics.get("totals") != totals.to_json():
        yield Violation(path, "has totals that are not the sum of the history")

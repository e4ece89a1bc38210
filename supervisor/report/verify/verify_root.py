"""Holding every record under a root against the invariants. Reads only; repairs nothing.

What a living supervisor may be changing at this moment (a run with a marker) is looked at for what
must hold at every instant, and left alone otherwise. Here: what stands where, whose it is, and one
task's history, state and metrics; what must hold of one run is in ``verify_run``.
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
from supervisor.report.verify.verify_run import RepairKind, Violation, check_record, check_run
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

_ASIDE: Final = re.compile(r"\.(invalid|corrupt)-\d+$")


def verify(layout: Layout) -> Iterator[Violation]:
    """Look at everything under a root.

    Yields:
        What is wrong; nothing where all invariants hold.
    """
    yield from _places(layout)
    yield from _own(layout)
    markers = set(_names(layout.accepted))
    try:
        names = tasks(layout)
    except OSError:
        return  # told above
    for task_id in names:
        yield from _task(layout, task_id, markers)
    yield from _markers(layout, markers)


def _own(layout: Layout) -> Iterator[Violation]:
    """What the supervisor keeps for itself and its readers."""
    yield from check_record(layout.status, check_status)
    yield from check_record(layout.lease, _check_lease)
    try:
        _, damage = pauses_in_force(layout)
    except (OSError, TypedError) as error:
        yield _why(layout.paused, error)
    else:
        if damage is not None:
            yield _why(layout.paused, damage)


def _check_lease(read: JsonReader) -> None:
    Identity.from_fields(read.child("identity"))
    read.text_or_none("since")


def _places(layout: Layout) -> Iterator[Violation]:
    """Private, ours, nothing but files and directories, nothing half written by the dead."""
    for top in (layout.runs, layout.out):
        closed: list[OSError] = []
        for directory, folders, files in os.walk(top, onerror=closed.append):
            if directory in (layout.rejected, layout.repaired):  # kept aside: no records any more
                folders.clear()
                continue
            for name in (*folders, *files):
                path = os.path.join(directory, name)
                try:
                    found = os.lstat(path)
                except FileNotFoundError:
                    continue
                what = _misplaced(found)
                if what is not None and path != os.path.join(layout.runs, ".gitignore"):
                    yield Violation(path, what, repair=_mend_of(found))
                if is_abandoned(name):
                    what = "was left half written by a writer that is dead"
                    yield Violation(path, what, repair=RepairKind.SWEEP)
                if _ASIDE.search(name):
                    what = "was set aside: it stood in a record's place"
                    yield Violation(path, what, repair=RepairKind.ASIDE)
        for error in closed:
            if not isinstance(error, FileNotFoundError):
                yield Violation(str(error.filename), f"cannot be read: {error.strerror}")


def _names(directory: str) -> list[str]:
    """What is in a directory; nothing where there is none, or where ``_places`` says why not."""
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []


def _why(path: str, error: OSError | TypedError) -> Violation:
    return Violation(path, str(error).removeprefix(f"{path}: "))


def _mend_of(found: os.stat_result) -> RepairKind | None:
    if found.st_uid != os.geteuid():
        return None
    is_ours = stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)
    return RepairKind.MODE if is_ours else RepairKind.ASIDE


def _misplaced(found: os.stat_result) -> str | None:
    mode = stat.S_IMODE(found.st_mode)
    is_dir = stat.S_ISDIR(found.st_mode)
    if stat.S_ISLNK(found.st_mode):
        return "is a symbolic link"
    if not is_dir and not stat.S_ISREG(found.st_mode):
        return "is neither a file nor a directory"
    if found.st_uid != os.geteuid():
        return f"belongs to another user (uid {found.st_uid})"
    if mode & 0o077:
        return f"may be read or written by others (mode {mode:o})"
    wanted = DIR_MODE if is_dir else FILE_MODE
    return None if mode == wanted else f"has mode {mode:o}, not {wanted:o}"


def _markers(layout: Layout, markers: set[str]) -> Iterator[Violation]:
    """Each marker is of a run that is there, or that is still asked for."""
    known = {name for task_id in tasks(layout) for name in _names(layout.runs_of(task_id))}
    asked = {spec.run_id for request in pending_requests(layout) for spec in request.runs}
    for name in sorted(markers):
        path = os.path.join(layout.accepted, name)
        if not is_run_id(name):
            yield Violation(path, "is not named as a run", repair=RepairKind.ASIDE)
        elif name not in known | asked and os.path.lexists(path):
            what = "is the marker of a run that has no directory and no request"
            yield Violation(path, what, repair=RepairKind.ASIDE)


@dataclass(slots=True)
class _Book:
    """What a history says.

    Attributes:
        lines: its lines, with the offset behind each.
        offset: how much of it was read.
        bad_count: whole lines that did not parse when we began.
    """

    path: str
    lines: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    by_run: dict[str, dict[str, Any]] = field(default_factory=dict)
    offset: int = 0
    bad_count: int = 0

    def begin(self) -> None:
        """Read what is there.

        Raises:
            BadFileError: it is no regular file.
        """
        ends = count_lines(self.path)
        self.read_on()
        self.bad_count = max(0, ends - len(self.lines))

    def read_on(self) -> None:
        """Read what is new."""
        for offset, line in read_lines(self.path, self.offset):
            self.lines.append((offset, line))
            self.by_run[str(line.get("runId"))] = line
            self.offset = offset

    def of(self, run_id: str) -> dict[str, Any] | None:
        """A run's line; one that was appended since we read is found too."""
        if run_id not in self.by_run:
            self.read_on()
        return self.by_run.get(run_id)


def _task(layout: Layout, task_id: str, markers: set[str]) -> Iterator[Violation]:
    state, metrics = _read(layout.state(task_id)), _read(layout.metrics(task_id))
    book = _Book(layout.history(task_id))
    try:
        book.begin()
    except (OSError, TypedError) as error:
        yield replace(_why(book.path, error), repair=RepairKind.HISTORY, task_id=task_id)
        return
    for found in _history(task_id, book):
        yield replace(found, repair=RepairKind.HISTORY, task_id=task_id)
    for found in _views(layout, task_id, state, metrics, book, markers):
        yield replace(found, repair=RepairKind.VIEWS, task_id=task_id)
    directory = layout.runs_of(task_id)
    for name in _names(directory):
        if name.endswith(".building") and is_run_id(name[1:].removesuffix(".building")):
            if name[1:].removesuffix(".building") not in markers:
                path = os.path.join(directory, name)
                yield Violation(path, "was left half built", repair=RepairKind.SWEEP)
            continue
        if os.path.join(directory, name) == layout.removed_of(task_id):
            continue  # being deleted, or swept by the next start: no record any more
        if not is_run_id(name):
            path = os.path.join(directory, name)
            yield Violation(path, "is not named as a run", repair=RepairKind.ASIDE)
            continue
        marked = name in markers or os.path.lexists(layout.marker(name))
        yield from check_run(layout, task_id, name, marked=marked, recorded=book.of)


def _views(
    layout: Layout,
    task_id: str,
    state: dict[str, Any] | Violation | None,
    metrics: dict[str, Any] | Violation | None,
    book: _Book,
    markers: set[str],
) -> Iterator[Violation]:
    """State and metrics are what the history says."""
    yield from (found for found in (state, metrics) if isinstance(found, Violation))
    if isinstance(state, dict):
        yield from _state(layout, task_id, state, book, markers)
    elif state is None and any(str(n.get("runId")) not in markers for _, n in book.lines):
        count = len(book.lines)
        yield Violation(layout.state(task_id), f"is missing although {count} runs have finished")
    if isinstance(metrics, dict):
        yield from _metrics(layout.metrics(task_id), metrics, book)


def _read(path: str) -> dict[str, Any] | Violation | None:
    """A view, why it is none, or None where it is missing."""
    try:
        return read_object(path)
    except FileNotFoundError:
        return None
    except (OSError, TypedError) as error:
        return _why(path, error)


def _history(task_id: str, book: _Book) -> Iterator[Violation]:
    counts = Counter(str(line.get("runId")) for _, line in book.lines)
    for run_id, count in counts.items():
        if count > 1:
            yield Violation(book.path, f"holds run {run_id} {count} times")
    for _, line in book.lines:
        if line.get("taskId") != task_id or line.get("status") not in STATUSES:
            name = line.get("runId")
            yield Violation(book.path, f"has a line of run {name} that is none of this task's")
    if book.bad_count:
        yield Violation(book.path, f"has {book.bad_count} lines that do not parse")


def _state(
    layout: Layout, task_id: str, state: dict[str, Any], book: _Book, markers: set[str]
) -> Iterator[Violation]:
    """The state is what the history says up to ``historyBytes``, and lacks no settled run."""
    path, shown = layout.state(task_id), state.get("runs")
    covered: Any = state.get("historyBytes")
    offsets = {0, *(offset for offset, _ in book.lines)}
    if state.get("taskId") != task_id or not isinstance(shown, list):
        yield Violation(path, "is not a state of this task")
        return
    if not isinstance(covered, int):
        yield Violation(path, "does not say how much of the history it covers")
        covered = book.offset
    elif covered not in offsets:
        yield Violation(path, f"covers {covered} bytes of the history, where no line ends")
        covered = book.offset
    known = [line for offset, line in book.lines if offset <= covered]
    ids = [str(run.get("runId")) for run in shown if isinstance(run, dict)]
    if len(ids) != len(set(ids)):
        yield Violation(path, "holds a run twice")
    newest = {str(line.get("runId")): line for line in known[len(known) - len(ids) :]}
    late = [line for offset, line in book.lines if offset > covered]
    for line in (*newest.values(), *late):
        run_id = str(line.get("runId"))
        if run_id not in ids and (run_id in newest or run_id not in markers):
            yield Violation(path, f"lacks run {run_id}, which is in the history")
    for run in shown:
        run_id = str(run.get("runId") if isinstance(run, dict) else run)
        if newest.get(run_id, run) != run:
            yield Violation(path, f"tells run {run_id} otherwise than the history")
        elif run_id not in newest:
            yield Violation(path, f"shows run {run_id}, which is not among the history's newest")
    if [i for i in ids if i in newest] != [i for i in newest if i in ids]:
        yield Violation(path, "shows runs in another order than the history")
    counts = Counter(str(line.get("status")) for line in known)
    wanted = {"runs": len(known), **{status: counts[status] for status in STATUSES}}
    if state.get("totals") != wanted:
        totals = state.get("totals")
        runs = totals.get("runs") if isinstance(totals, dict) else totals
        yield Violation(path, f"counts {runs} runs, the history has {len(known)}: {wanted}")


def _metrics(path: str, metrics: dict[str, Any], book: _Book) -> Iterator[Violation]:
    """The totals are the sum of the history up to ``history_bytes``."""
    covered = metrics.get("history_bytes")
    totals = Totals()
    for offset, line in book.lines:
        if isinstance(covered, int) and offset <= covered:
            totals = totals.add(line)
    if metrics.get("totals") != totals.to_json():
        yield Violation(path, "has totals that are not the sum of the history")

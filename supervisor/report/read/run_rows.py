"""What a list of runs is made of, and what can be told of them without reading their records.

``status`` is asked often, and mostly where nothing is under way: this much imports next to nothing.
"""

import contextlib
from collections.abc import Iterable
from typing import Any, Final

from supervisor.report.read.side_records import check_status, view
from supervisor.store.root_listing import tasks
from workers.records.dataclass import dataclass
from workers.records.flock import is_flocked
from workers.records.history import last_lines
from workers.records.json_reader import JsonReader
from workers.records.layout import Layout
from workers.records.typed_errors import TypedError

UNKNOWN_SCHEMA: Final = "unknown_schema"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One run in a list.

    Attributes:
        status: of the manifest's words; UNKNOWN_SCHEMA for a run of a later version, "unreadable"
            where its records cannot be read.
        note: the status_detail, else the supervisor's word for a worker that is not fresh, else
            what a queued run follows.
        started_at: when its worker began; None if it had none.
        duration_s: from then to its verdict; up to now while it runs; None if that is not known.
        stages_count: of its pipeline; None where that is not known.
        stages_ended_count: those of them that have ended.
        running: the ids of the stages that are at work.
        host: the host that its worker is or was on; None where it had none, or an old record does
            not tell.
    """

    run_id: str
    task_id: str
    pipeline_id: str
    status: str
    note: str | None = None
    started_at: str | None = None
    duration_s: float | None = None
    pid: int | None = None
    stages_count: int | None = None
    stages_ended_count: int | None = None
    running: tuple[str, ...] = ()
    host: str | None = None

    @property
    def remark(self) -> str:
        """The note, and for a run at work how far it is: ``late, 2/3 package``."""
        if self.status != "in_progress" or self.stages_count is None:
            return self.note or ""
        at = min((self.stages_ended_count or 0) + 1, self.stages_count)
        far = f"{at}/{self.stages_count} {' '.join(self.running)}".rstrip()
        return f"{self.note}, {far}" if self.note else far

    def to_json(self) -> dict[str, Any]:
        """As ``status --json`` prints it."""
        return {name: getattr(self, name) for name in self.__slots__}


def placed_note(launcher: str) -> str:
    """What is said of a run that an engine has and nobody has begun."""
    return f"placed, waiting for {launcher}"


def status_by_run(layout: Layout) -> dict[str, dict[str, Any]]:
    """What the living supervisor last said of its runs, by run id; nothing if none serves."""
    if not is_flocked(layout.lease_lock):
        return {}
    runs = service_status(layout).get("runs")
    if isinstance(runs, list):
        return {str(r.get("run_id")): r for r in runs if isinstance(r, dict)}
    return {}


def service_status(layout: Layout) -> dict[str, Any]:
    """The view that the supervisor last wrote, empty where there is none."""
    return view(layout.status, check_status)


def newest_task_rows(layout: Layout, task_id: str, count: int) -> list[Row]:
    """The newest finished runs of one task, oldest first; errors as last_lines."""
    return _rows_of(last_lines(layout.history(task_id), count))


def newest_rows(layout: Layout, count: int) -> tuple[list[Row], list[str]]:
    """The newest finished runs of all tasks, oldest first; and which histories cannot be read."""
    lines: list[dict[str, Any]] = []
    unread = []
    for task_id in tasks(layout):
        try:
            lines += last_lines(layout.history(task_id), count)
        except (OSError, TypedError) as error:
            unread.append(str(error))
    lines.sort(key=lambda line: (str(line.get("timestamp")), str(line.get("runId"))))
    return _rows_of(lines[-count:]), unread


def _rows_of(lines: Iterable[dict[str, Any]]) -> list[Row]:
    """The list entries of lines of a history; what parses and is no line of ours is passed over."""
    rows = []
    for line in lines:
        with contextlib.suppress(TypedError):  # verify tells
            rows.append(history_row(line))
    return rows


def history_row(data: dict[str, Any]) -> Row:
    """The list entry of a line of the history; BadRecordError where it is no line of ours."""
    line = JsonReader(data, "history.ndjson")
    counts = line.counts("stages")
    host = line.text_or_none("host")
    begun = host is not None or "host" not in data  # an old line does not tell
    return Row(
        run_id=line.text("runId"),
        task_id=line.text("taskId"),
        pipeline_id=line.text("pipelineId"),
        status=line.text("status"),
        note=line.text_or_none("statusDetail"),
        started_at=line.text_or_none("startedAt") if begun else None,
        duration_s=line.number_or_none("durationSeconds"),
        stages_count=sum(counts.values()) if counts else None,
        stages_ended_count=sum(counts.values()) - counts.get("pending", 0) if counts else None,
        host=host,
    )

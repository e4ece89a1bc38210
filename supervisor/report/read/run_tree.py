"""A run as it went: its stages with their tries, the runs of its sub-pipelines, and when.

One value for everything that shows a single run: the tree of ``status``, ``show --timing`` and the
page of ``report``. Times are Spans, in seconds since the run at the top was accepted.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from supervisor.report.read.run_records import manifest_now
from supervisor.report.read.run_rows import UNKNOWN_SCHEMA, worker_host
from supervisor.report.read.stage_tries import (
    Instant,
    Span,
    StageTry,
    instant_of,
    place_after,
    place_facts,
    slot_wait,
    stage_tries,
)
from workers.records.clock import epoch_of
from workers.records.dataclass import dataclass
from workers.records.identity import boot_id, host_name
from workers.records.ids import is_run_id
from workers.records.journal import Event, Fact, read_journal
from workers.records.layout import Layout
from workers.records.manifest import FINAL
from workers.records.request import now_text
from workers.records.spec import PipelineSpec, load_spec
from workers.records.typed_errors import NewerRecordError, TypedError
from workers.stages.graph import needs_of

DEPTH_LIMIT: Final = 50  # sub-pipelines may be nested deeper than Python can call functions


@dataclass(frozen=True, slots=True, kw_only=True)
class StageNode:
    """One stage.

    Attributes:
        index: its place, from 1.
        status: pending, running, succeeded, failed, skipped.
        span: from its first try to the end of its last; None where it was never begun.
        tries: those that the journal tells, in order.
        run: the run of its sub-pipeline.
        slot_wait: while it had its turn and others had the slots that it needs.
        needs: the stages that must not have failed before it begins.
        facts: its entry of the manifest's ``commands``.
        extension: its entry of the manifest's ``extensions.stages``.
    """

    index: int
    id: str
    status: str
    span: Span | None
    tries: tuple[StageTry, ...]
    run: "RunNode | None"
    facts: dict[str, Any]
    extension: dict[str, Any]
    slot_wait: Span | None = None
    needs: tuple[str, ...] = ()

    @property
    def signal(self) -> str | None:
        """The signal that ended it."""
        return self.extension.get("signal")

    @property
    def failed(self) -> bool:
        """It failed, also where it may."""
        return bool(self.facts["error_file"])


@dataclass(frozen=True, slots=True, kw_only=True)
class RunNode:
    """One run.

    Attributes:
        status: of the manifest's words; "unknown_schema" or "unreadable" where that is all.
        detail: the status_detail.
        reason: the verdict's reason, or why the records cannot be read.
        queued: from its acceptance to its worker's begin; up to now while it waits.
        span: from its worker's begin to its verdict; up to now while it runs; None before.
        stages: all of its pipeline, in order.
        max_parallel: how many of them are on at once; None means no limit.
        manifest: empty where there is none that can be read.
    """

    run_id: str
    task_id: str
    pipeline_id: str
    status: str
    detail: str | None = None
    reason: str | None = None
    queued: Span
    span: Span | None = None
    stages: tuple[StageNode, ...] = ()
    max_parallel: int | None = None
    manifest: dict[str, Any]

    @property
    def host(self) -> str | None:
        """The host that its worker is or was on; None where it had none."""
        return worker_host(self.manifest)

    @property
    def ended(self) -> bool:
        """It has its verdict."""
        return self.status in FINAL

    @property
    def duration_s(self) -> float | None:
        """As its record tells; up to now while it runs; None if it has not begun, or none tells."""
        if not self.ended:
            return None if self.span is None else self.span.length_s
        found = (self.manifest.get("extensions") or {}).get("duration_s")
        return found if isinstance(found, int | float) else None

    def runs(self) -> Iterator["RunNode"]:
        """This run and those of its sub-pipelines, top down."""
        yield self
        for stage in self.stages:
            if stage.run is not None:
                yield from stage.run.runs()


def read_tree(layout: Layout, task_id: str, run_id: str) -> RunNode:
    """Read a run and those of its sub-pipelines.

    Args:
        layout: the root.
        task_id: its task; sub-pipelines' runs are of the same.
        run_id: the run.

    Raises:
        BadRecordError, BadFileError, OSError: this run's records cannot be read; that of a
            sub-pipeline is "unreadable" instead.
    """
    return _Reader(layout, task_id).read(run_id, 0.0, None, ())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Records:
    """The records of one run, sorted so that each stage finds its own without a search.

    Attributes:
        facts: those of the journal, by their stage; empty if it could not be read.
        at: where each fact lies, by its number.
        end_s: where the verdict lies, or now.
        above: the runs whose sub-pipeline it is, from the top, and itself.
    """

    manifest: dict[str, Any]
    facts: Mapping[str | None, list[Fact]]
    at: Mapping[int, float]
    end_s: float
    needs: Mapping[str, tuple[str, ...]]
    above: tuple[str, ...]
    extensions: Mapping[str, dict[str, Any]]


class _Reader:
    """Reads a tree of runs of one task.

    Args:
        layout: the root.
        task_id: the task.
    """

    def __init__(self, layout: Layout, task_id: str) -> None:
        self._layout = layout
        self._task_id = task_id
        self._now_text = now_text()
        self._now_mono_s = time.monotonic()

    def read(
        self, run_id: str, place_s: float, begin: Instant | None, above: tuple[str, ...]
    ) -> RunNode:
        try:
            manifest = manifest_now(self._layout, self._task_id, run_id)
        except NewerRecordError as error:
            return self._bare(run_id, UNKNOWN_SCHEMA, str(error), place_s)
        facts = self._facts(run_id)
        at = place_facts(facts, place_s, begin)
        now_s = self._now_s(manifest, facts, at, place_s)
        accepted_s = at[facts[0].seq] if facts else place_s
        started = next((f for f in facts if f.event == Event.RUN_STARTED), None)
        ended = next((f for f in facts if f.event == Event.VERDICT), None)
        end_s = at[ended.seq] if ended else now_s
        began_s = at[started.seq] if started else None
        if not facts and manifest["status"] in FINAL:  # only the record is left
            began_s, end_s = place_s, place_s + _wall_s(manifest, "started_at", "completed_at")
        pipeline = self._pipeline(run_id)
        records = _Records(
            manifest=manifest,
            facts=_by_stage(facts),
            at=at,
            end_s=end_s,
            needs={} if pipeline is None else needs_of(pipeline),
            above=(*above, run_id),
            extensions={item["id"]: item for item in manifest["extensions"].get("stages") or ()},
        )
        return RunNode(
            run_id=run_id,
            task_id=self._task_id,
            pipeline_id=manifest["pipeline_id"],
            status=manifest["status"],
            detail=manifest["status_detail"],
            reason=manifest["extensions"].get("reason"),
            queued=Span(accepted_s, end_s if began_s is None else began_s),
            span=None if began_s is None else Span(began_s, end_s),
            stages=tuple(self._stage(records, entry) for entry in manifest["commands"]),
            max_parallel=None if pipeline is None else pipeline.max_parallel,
            manifest=manifest,
        )

    def _facts(self, run_id: str) -> list[Fact]:
        """The facts up to the verdict; none where they cannot be read: the record tells enough."""
        try:
            facts = read_journal(self._layout.run_dir(self._task_id, run_id).journal)
        except (OSError, TypedError):
            return []
        for number, fact in enumerate(facts, 1):
            if fact.event == Event.VERDICT:
                return facts[:number]
        return facts

    def _now_s(
        self,
        manifest: dict[str, Any],
        facts: list[Fact],
        at: Mapping[int, float],
        place_s: float,
    ) -> float:
        """Where now lies."""
        if not facts:
            return place_s + _wall_s({**manifest, "now": self._now_text}, "started_at", "now")
        worker = manifest["extensions"].get("worker") or {}
        here = not worker or (worker.get("host"), worker.get("boot_id")) == (host_name(), boot_id())
        now = Instant(self._now_text, self._now_mono_s if here else None)
        return place_after(at[facts[-1].seq], instant_of(facts[-1]), now)

    def _pipeline(self, run_id: str) -> PipelineSpec | None:
        """The pipeline as it was asked for; None if the spec cannot be read."""
        try:
            return load_spec(self._layout.run_dir(self._task_id, run_id).spec).pipeline
        except (OSError, TypedError):
            return None

    def _stage(self, records: "_Records", entry: dict[str, Any]) -> StageNode:
        mine = records.facts.get(entry["id"], [])
        tries = stage_tries(mine, records.at, records.end_s, entry["status"])
        if not records.facts and entry.get("started_at"):
            tries = (_as_recorded(records.manifest, entry, records.end_s),)
        span = Span(tries[0].span.begin_s, tries[-1].span.end_s) if tries else None
        if tries and tries[-1].wait is not None:
            span = Span(tries[0].span.begin_s, tries[-1].wait.end_s)
        return StageNode(
            index=entry["index"],
            id=entry["id"],
            status=entry["status"],
            span=span,
            tries=tries,
            run=self._child(entry, mine, records.at, records.above),
            facts=entry,
            extension=records.extensions.get(entry["id"], {}),
            slot_wait=slot_wait(mine, records.at, records.end_s),
            needs=records.needs.get(entry["id"], ()),
        )

    def _child(
        self,
        entry: dict[str, Any],
        facts: list[Fact],
        at: Mapping[int, float],
        above: tuple[str, ...],
    ) -> RunNode | None:
        sub_run_id = entry.get("sub_run_id")
        if not isinstance(sub_run_id, str) or not is_run_id(sub_run_id):
            return None
        asked = next((f for f in facts if f.event == Event.CHILD_STARTED), None)
        place_s = at[asked.seq] if asked else 0.0
        begin = instant_of(asked) if asked else None
        if sub_run_id in above:  # validation refuses circles; edited records may hold one
            return self._bare(sub_run_id, "unreadable", "is its own sub-pipeline", place_s)
        try:
            if len(above) >= DEPTH_LIMIT:
                return self._too_deep(sub_run_id, place_s)
            return self.read(sub_run_id, place_s, begin, above)
        except FileNotFoundError:
            return self._bare(sub_run_id, "unreadable", "its directory is gone", place_s)
        except (OSError, TypedError) as error:
            return self._bare(sub_run_id, "unreadable", str(error), place_s)

    def _too_deep(self, run_id: str, place_s: float) -> RunNode:
        """A run whose own stages are left out; errors as ``read``."""
        manifest = manifest_now(self._layout, self._task_id, run_id)
        reason = f"more than {DEPTH_LIMIT} levels deep; 'supervisor status {run_id}' shows it"
        return self._bare(
            run_id, manifest["status"], reason, place_s, pipeline_id=manifest["pipeline_id"]
        )

    def _bare(
        self, run_id: str, status: str, reason: str, place_s: float, *, pipeline_id: str = "-"
    ) -> RunNode:
        return RunNode(
            run_id=run_id,
            task_id=self._task_id,
            pipeline_id=pipeline_id,
            status=status,
            reason=reason,
            queued=Span(place_s, place_s),
            manifest={},
        )


def _by_stage(facts: Iterable[Fact]) -> dict[str | None, list[Fact]]:
    found: dict[str | None, list[Fact]] = {}
    for fact in facts:
        stage = fact.data.get("stage")
        found.setdefault(stage if isinstance(stage, str) else None, []).append(fact)
    return found


def _as_recorded(manifest: dict[str, Any], entry: dict[str, Any], end_s: float) -> StageTry:
    """What is known of a stage without its journal: from the wall clock's times in the record."""
    begin_s = _wall_s({**manifest, "stage": entry["started_at"]}, "started_at", "stage")
    lasted_s = _wall_s(entry, "started_at", "completed_at") if entry.get("completed_at") else None
    return StageTry(
        number=1,
        span=Span(begin_s, end_s if lasted_s is None else begin_s + lasted_s),
        status=entry["status"],
        exit_code=entry["exit_code"],
    )


def _wall_s(record: dict[str, Any], begin: str, end: str) -> float:
    try:
        return max(0.0, epoch_of(str(record[end])) - epoch_of(str(record[begin])))
    except ValueError:
        return 0.0

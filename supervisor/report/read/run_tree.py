"""A run with its stages, their tries and its child runs, and when each of them ran.

One value for everything that shows a single run: the tree of ``status``, ``show --timing`` and the
page of ``report``. Times are Spans, in seconds since the root of the tree was accepted.
"""

import time
from collections.abc import Iterator, Mapping
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

DEPTH_LIMIT: Final = 50  # child runs may be nested deeper than Python can call functions


@dataclass(frozen=True, slots=True, kw_only=True)
class StageNode:
    """One stage.

    Attributes:
        index: its number in the pipeline, from 1.
        status: pending, running, succeeded, failed, skipped.
        span: from its first try to the end of its last; None if it has not begun.
        tries: its tries, in order.
        run: its child run.
        facts: its entry of the manifest's ``commands``.
        extension: its entry of the manifest's ``extensions.stages``.
        slot_wait: when it waited for slots that other stages had.
        needs: the stages that it needs.
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
        """It failed, even if its pipeline allows that."""
        return bool(self.facts["error_file"])


@dataclass(frozen=True, slots=True, kw_only=True)
class RunNode:
    """One run.

    Attributes:
        status: the manifest's status; "unknown_schema" or "unreadable" if nothing else is known.
        detail: the status_detail.
        reason: the verdict's reason, or why the records cannot be read.
        queued: from its acceptance to its worker's begin, or up to now.
        span: from its worker's begin to its verdict, or up to now; None if no worker has begun.
        stages: the stages of its pipeline, in order.
        max_parallel: how many stages may run at once; None means no limit.
        manifest: empty if it cannot be read.
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
        """The host of its worker; None if it had none."""
        return worker_host(self.manifest)

    @property
    def ended(self) -> bool:
        """It has its verdict."""
        return self.status in FINAL

    @property
    def duration_s(self) -> float | None:
        """As recorded, or up to now; None if it has not begun or the record has no duration."""
        if not self.ended:
            return None if self.span is None else self.span.length_s
        seconds = (self.manifest.get("extensions") or {}).get("duration_s")
        return seconds if isinstance(seconds, int | float) else None

    def runs(self) -> Iterator["RunNode"]:
        """This run and its child runs, top down."""
        yield self
        for stage in self.stages:
            if stage.run is not None:
                yield from stage.run.runs()


def read_tree(layout: Layout, task_id: str, run_id: str) -> RunNode:
    """Read a run and its child runs, which are of the same task.

    Raises:
        BadRecordError, BadFileError, OSError: the run's records cannot be read; a child run whose
            records cannot be read is "unreadable".
    """
    return _Reader(layout, task_id).read(run_id, 0.0, None, ())


class _Reader:
    """Reads a tree of runs of one task, all of them at the same instant."""

    def __init__(self, layout: Layout, task_id: str) -> None:
        self._layout = layout
        self._task_id = task_id
        self._now_text = now_text()
        self._now_mono_s = time.monotonic()

    def read(
        self, run_id: str, place_s: float, begin: Instant | None, path: tuple[str, ...]
    ) -> RunNode:
        """Read a run; ``place_s`` and ``begin`` as ``place_facts``, errors as ``read_tree``."""
        try:
            manifest = manifest_now(self._layout, self._task_id, run_id)
        except NewerRecordError as error:
            return self._bare(run_id, UNKNOWN_SCHEMA, str(error), place_s)
        facts = self._facts(run_id)
        at = place_facts(facts, place_s, begin)
        first = {fact.event: fact for fact in reversed(facts)}
        started, verdict = first.get(Event.RUN_STARTED), first.get(Event.VERDICT)
        began_s = at[started.seq] if started else None
        end_s = at[verdict.seq] if verdict else self._now_s(manifest, facts, at, place_s)
        if not facts and manifest["status"] in FINAL:  # the journal was removed
            began_s, end_s = place_s, place_s + _wall_s(manifest, "started_at", "completed_at")
        pipeline = self._pipeline(run_id)
        accepted_s = at[facts[0].seq] if facts else place_s
        return RunNode(
            run_id=run_id,
            task_id=self._task_id,
            pipeline_id=manifest["pipeline_id"],
            status=manifest["status"],
            detail=manifest["status_detail"],
            reason=manifest["extensions"].get("reason"),
            queued=Span(accepted_s, end_s if began_s is None else began_s),
            span=None if began_s is None else Span(began_s, end_s),
            stages=tuple(self._stages(manifest, pipeline, facts, at, end_s, (*path, run_id))),
            max_parallel=None if pipeline is None else pipeline.max_parallel,
            manifest=manifest,
        )

    def _facts(self, run_id: str) -> list[Fact]:
        """The facts up to the verdict; none if the journal cannot be read."""
        try:
            facts = read_journal(self._layout.run_dir(self._task_id, run_id).journal)
        except (OSError, TypedError):
            return []
        verdict = next((i for i, f in enumerate(facts, 1) if f.event == Event.VERDICT), None)
        return facts[:verdict]

    def _now_s(
        self, manifest: dict[str, Any], facts: list[Fact], at: Mapping[int, float], place_s: float
    ) -> float:
        """The place of now."""
        if not facts:
            return place_s + _wall_s({**manifest, "now": self._now_text}, "started_at", "now")
        worker = manifest["extensions"].get("worker") or {}
        machine = (worker.get("host"), worker.get("boot_id"))
        is_local = not worker or machine == (host_name(), boot_id())
        now = Instant(self._now_text, self._now_mono_s if is_local else None)
        return place_after(at[facts[-1].seq], instant_of(facts[-1]), now)

    def _pipeline(self, run_id: str) -> PipelineSpec | None:
        """The submitted pipeline; None if the spec cannot be read."""
        try:
            return load_spec(self._layout.run_dir(self._task_id, run_id).spec).pipeline
        except (OSError, TypedError):
            return None

    def _stages(
        self,
        manifest: dict[str, Any],
        pipeline: PipelineSpec | None,
        facts: list[Fact],
        at: Mapping[int, float],
        end_s: float,
        path: tuple[str, ...],
    ) -> Iterator[StageNode]:
        """The stages of a run that ended at ``end_s``; ``path`` is its ids from the top."""
        by_stage: dict[str, list[Fact]] = {}
        for fact in facts:
            by_stage.setdefault(str(fact.data.get("stage")), []).append(fact)
        needs = {} if pipeline is None else needs_of(pipeline)
        extensions = {item["id"]: item for item in manifest["extensions"].get("stages") or ()}
        for entry in manifest["commands"]:
            name = entry["id"]
            own = by_stage.get(name, [])
            tries = stage_tries(own, at, end_s, entry["status"])
            if not facts and entry.get("started_at"):
                tries = (_recorded_try(manifest, entry, end_s),)
            last = (tries[-1].wait or tries[-1].span) if tries else None
            yield StageNode(
                index=entry["index"],
                id=name,
                status=entry["status"],
                span=None if last is None else Span(tries[0].span.begin_s, last.end_s),
                tries=tries,
                run=self._child(entry, own, at, path),
                facts=entry,
                extension=extensions.get(name, {}),
                slot_wait=slot_wait(own, at, end_s),
                needs=needs.get(name, ()),
            )

    def _child(
        self,
        entry: dict[str, Any],
        facts: list[Fact],
        at: Mapping[int, float],
        path: tuple[str, ...],
    ) -> RunNode | None:
        run_id = entry.get("sub_run_id")
        if not isinstance(run_id, str) or not is_run_id(run_id):
            return None
        started = next((f for f in facts if f.event == Event.CHILD_STARTED), None)
        place_s = at[started.seq] if started else 0.0
        if run_id in path:  # only in edited records: validation refuses circles
            return self._bare(run_id, "unreadable", "is its own sub-pipeline", place_s)
        try:
            if len(path) >= DEPTH_LIMIT:
                return self._too_deep(run_id, place_s)
            return self.read(run_id, place_s, instant_of(started) if started else None, path)
        except FileNotFoundError:
            return self._bare(run_id, "unreadable", "its directory is gone", place_s)
        except (OSError, TypedError) as error:
            return self._bare(run_id, "unreadable", str(error), place_s)

    def _too_deep(self, run_id: str, place_s: float) -> RunNode:
        """A run without its stages; errors as ``read``."""
        manifest = manifest_now(self._layout, self._task_id, run_id)
        reason = f"more than {DEPTH_LIMIT} levels deep; 'supervisor status {run_id}' shows it"
        return self._bare(run_id, manifest["status"], reason, place_s, manifest["pipeline_id"])

    def _bare(
        self, run_id: str, status: str, reason: str, place_s: float, pipeline_id: str = "-"
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


def _recorded_try(manifest: dict[str, Any], entry: dict[str, Any], end_s: float) -> StageTry:
    """A stage without a journal: by the wall times of the manifest."""
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

"""manifest.json, version 1: a run's record, a projection of its spec and its journal.

The origin's fields keep their names, types and meanings; ours are under ``extensions``. Everything
can be computed again, except ``updated_at``, ``heartbeat_at`` and the supervisor's observations,
which the caller passes in.
"""

import math
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, Final

from workers.records.dataclass import dataclass
from workers.records.journal import Event, Fact
from workers.records.json_text import readable
from workers.records.layout import Layout
from workers.records.limits import SUMMARY_LIMIT_CHARS
from workers.records.spec import RunSpec, StageKind, StageSpec

RUNNER: Final = "pipeline-supervisor"
SCHEMA: Final = {"name": "pipeline-supervisor/manifest", "version": 1}


class Status(StrEnum):
    """A run's status; the last three are final."""

    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


FINAL: Final = (Status.SUCCEEDED, Status.FAILED, Status.CANCELLED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What the supervisor knows of a run and its journal does not contain.

    Attributes:
        updated_at: when this manifest was computed, RFC 3339 UTC.
        heartbeat_at: the newest heartbeat.
        warnings: warnings for an operator: {"code", "message", ...}.
        slowest_manifest_write_s: the longest write of this run's manifest so far, in seconds.
        liveness: fresh, late, unresponsive, ...
    """

    updated_at: str
    heartbeat_at: str | None = None
    warnings: tuple[Mapping[str, Any], ...] = ()
    slowest_manifest_write_s: float = 0.0
    liveness: str | None = None


def observed_in(manifest: Mapping[str, Any]) -> Observed:
    """The observations that a manifest contains."""
    extensions = manifest.get("extensions")
    extensions = extensions if isinstance(extensions, dict) else {}
    return Observed(
        updated_at=str(manifest.get("updated_at")),
        heartbeat_at=manifest.get("heartbeat_at"),
        slowest_manifest_write_s=extensions.get("slowest_manifest_write_s") or 0.0,
        liveness=extensions.get("liveness"),
    )


def status_of(facts: Iterable[Fact]) -> Status:
    """The run's status according to its journal."""
    status = Status.QUEUED
    for fact in facts:
        if fact.event == Event.VERDICT:
            return Status(str(fact.data.get("status")))
        if fact.event == Event.RUN_STARTED:
            status = Status.IN_PROGRESS
    return status


class _Index:
    """A run's facts up to its verdict, sorted by subject.

    Attributes:
        begun, ended: of each stage; a further try removes the end of the one before.
        kept: for each reused stage, the run that it was reused from.
        children: for each stage, the newest fact of its sub-pipeline's run.
    """

    def __init__(self, spec: RunSpec, facts: Iterable[Fact]) -> None:
        self.accepted_at = spec.asked_at
        self.started: Fact | None = None
        self.verdict: Fact | None = None
        self.begun: dict[str, Fact] = {}
        self.ended: dict[str, Fact] = {}
        self.kept: dict[str, str] = {}
        self.children: dict[str, Fact] = {}
        self.warnings: list[Mapping[str, Any]] = []
        for fact in facts:
            self._add(fact)
            if self.verdict is not None:
                break  # facts after a verdict do not count
        self.verdict_data: Mapping[str, Any] = self.verdict.data if self.verdict else {}

    def _add(self, fact: Fact) -> None:
        stage = str(fact.data.get("stage"))
        match fact.event:
            case Event.RUN_ACCEPTED:
                self.accepted_at = fact.at
            case Event.RUN_STARTED:
                self.started = fact
            case Event.STAGE_STARTED:
                self.begun.setdefault(stage, fact)
                self.ended.pop(stage, None)
            case Event.STAGE_ENDED:
                self.ended[stage] = fact
            case Event.STAGE_KEPT:
                self.kept[stage] = str(fact.data.get("kept_from"))
            case Event.CHILD_STARTED:
                self.begun.setdefault(stage, fact)
                self.children[stage] = fact
            case Event.CHILD_ENDED:
                self.children[stage] = fact
            case Event.WARNING:
                self.warnings.append(dict(fact.data))
            case Event.VERDICT:
                self.verdict = fact
            case _:
                pass


def fold_manifest(
    spec: RunSpec, facts: Iterable[Fact], *, layout: Layout, observed: Observed
) -> dict[str, Any]:
    """Compute the manifest.

    Args:
        spec: the run's spec.
        facts: the run's journal, in order.
        layout: the root that paths are relative to.
        observed: what the journal does not contain.

    Returns:
        The content of manifest.json, with every field of version 1.
    """
    facts = tuple(facts)
    index = _Index(spec, facts)
    run = layout.run_dir(spec.task_id, spec.run_id)
    started_at = index.started.at if index.started else index.accepted_at
    return {
        "version": 1,
        "task_id": spec.task_id,
        "task_slug": spec.task_id,
        "run_id": spec.run_id,
        "parent_run_id": spec.parent_run_id,
        "pipeline_id": spec.pipeline.id,
        "pipeline_title": spec.pipeline.title,
        "runner": RUNNER,
        "approval_policy": None,
        "status": status_of(facts),
        "status_detail": index.verdict_data.get("detail"),
        "started_at": started_at,
        "completed_at": max(index.verdict.at, started_at) if index.verdict else None,
        "updated_at": observed.updated_at,
        "heartbeat_at": observed.heartbeat_at,
        "heartbeat_interval_seconds": math.ceil(spec.limits.heartbeat_interval_s),
        "heartbeat_stale_after_seconds": math.ceil(spec.limits.heartbeat_stale_after_s),
        "artifact_root": layout.relative(run.path),
        "compat_path": layout.relative(run.path),
        "log_path": layout.relative(run.journal),
        "summary": _summary(spec, index),
        "metrics_recorded": index.verdict is not None,
        "resume_token": spec.resume_token,
        "resume_events": [],
        "approvals": [],
        "commands": [
            _command(layout, spec, place, stage, index)
            for place, stage in enumerate(spec.pipeline.stages, 1)
        ],
        "child_runs": _children(layout, spec, index),
        "run_summary_path": None,
        "instructions_hash": None,
        "instructions_sources": [],
        "extensions": _extensions(spec, index, observed),
    }


def _command(
    layout: Layout, spec: RunSpec, place: int, stage: StageSpec, index: _Index
) -> dict[str, Any]:
    begun, ended = index.begun.get(stage.id), index.ended.get(stage.id)
    end: Mapping[str, Any] = ended.data if ended else {}
    child = index.children.get(stage.id)
    is_command = stage.kind == StageKind.COMMAND
    run = layout.run_dir(spec.task_id, spec.run_id)
    # A file's path follows from its run and stage, whatever path a journal contains.
    log, error_file = run.stage_log(place, stage.id, "stdout"), run.error_file(place, stage.id)
    summary = end.get("summary")
    if ended:
        status = str(end.get("status"))
    elif stage.id in index.kept:
        status, summary = Status.SUCCEEDED, f"kept from run {index.kept[stage.id]}"
    elif begun:
        status = "failed" if index.verdict else "running"
    else:
        status, summary = "pending", _unmet(index, stage)
    text = stage.command if isinstance(stage.command, str) else " ".join(stage.command or ())
    return {
        "index": place,
        "id": stage.id,
        "title": stage.title,
        "command": readable(text) if is_command else None,
        "kind": str(stage.kind),
        "status": str(status),
        "started_at": begun.at if begun else None,
        "completed_at": max(ended.at, begun.at) if begun and ended else None,
        "exit_code": end.get("exit_code"),
        "summary": str(summary)[:SUMMARY_LIMIT_CHARS] if summary is not None else None,
        "log_path": layout.relative(log) if begun and is_command else None,
        "error_file": layout.relative(error_file) if end.get("error_file") else None,
        "sub_run_id": child.data.get("sub_run_id") if child else None,
    }


def _unmet(index: _Index, stage: StageSpec) -> str | None:
    """Why a stage never began; None if it still may, or if the reason is unknown."""
    need = (index.verdict_data.get("unmet") or {}).get(stage.id)
    if not need:
        return None
    return f"not begun: it needs {need}, which {'failed' if need in index.ended else 'did not run'}"


def _children(layout: Layout, spec: RunSpec, index: _Index) -> list[dict[str, Any]]:
    return [
        {
            "run_id": fact.data.get("sub_run_id"),
            "pipeline_id": fact.data.get("pipeline"),
            "status": fact.data.get("status") or str(Status.IN_PROGRESS),
            "manifest": layout.relative(
                layout.run_dir(spec.task_id, str(fact.data.get("sub_run_id"))).manifest
            ),
        }
        for fact in index.children.values()
    ]


def _summary(spec: RunSpec, index: _Index) -> str | None:
    if index.verdict is None:
        return None
    lines = []
    for stage in spec.pipeline.stages:
        ended = index.ended.get(stage.id)
        summary = ended.data.get("summary") if ended else None
        if stage.id in index.kept:
            summary = f"kept from run {index.kept[stage.id]}"
        if summary:
            lines.append(f"{stage.id}: {summary}")
    reason = index.verdict_data.get("reason")
    return "\n".join([*lines, str(reason)] if reason else lines) or None


def _extensions(spec: RunSpec, index: _Index, observed: Observed) -> dict[str, Any]:
    verdict = index.verdict_data
    started: Mapping[str, Any] = index.started.data if index.started else {}
    beats = verdict.get("heartbeat") or {}
    return {
        "schema": SCHEMA,
        "accepted_at": index.accepted_at,
        "asked_by": spec.asked_by,
        "batch": spec.batch,
        "params": dict(spec.params),
        "priority": spec.priority,
        "group": spec.group,
        "resources": dict(spec.pipeline.resources),
        "after": [item.run_id for item in spec.after],
        "retry_of": spec.retry_of,
        "kept": dict(index.kept),
        "worker": started.get("identity"),
        "attempt": started.get("attempt"),
        "liveness": observed.liveness,
        "reason": verdict.get("reason"),
        "verdict_by": index.verdict.by if index.verdict else None,
        "duration_s": verdict.get("duration_s"),
        "leftover_pids": verdict.get("leftover_pids") or [],
        "stages": [_stage_extension(stage, index) for stage in spec.pipeline.stages],
        "warnings": [*index.warnings, *observed.warnings],
        "heartbeat": {
            "interval_s": spec.limits.heartbeat_interval_s,
            "stale_after_s": spec.limits.heartbeat_stale_after_s,
            "writes_ok": beats.get("ok"),
            "writes_failed": beats.get("failed"),
            "slowest_s": beats.get("slowest_s"),
        },
        "slowest_manifest_write_s": observed.slowest_manifest_write_s,
        "slowest_journal_write_s": verdict.get("slowest_journal_s"),
    }


_STAGE_KEYS: Final = (
    *("status", "reason", "signal", "duration_s", "stdout", "stderr"),
    *("peak_rss_bytes", "cpu_s", "leftover_count", "output_incomplete"),
)


def _stage_extension(stage: StageSpec, index: _Index) -> dict[str, Any]:
    ended = index.ended.get(stage.id)
    begun = index.begun.get(stage.id)
    data: Mapping[str, Any] = ended.data if ended else {}
    if stage.id in index.kept:
        data = {"status": "succeeded"}
    facts: dict[str, Any] = {key: data.get(key) for key in _STAGE_KEYS}
    for stream in ("stdout", "stderr"):
        counts = facts[stream]
        if isinstance(counts, dict):
            dropped = counts.get("seen_bytes", 0) - counts.get("kept_bytes", 0)
            facts[stream] = {**counts, "dropped_bytes": dropped}
    tries = data.get("try") or (begun.data.get("try") if begun else None)
    return {"id": stage.id, "tries": tries or 0, **facts}

"""manifest.json, version 1: a run's record, folded from its spec and its journal.

The fields of the origin keep their names, types and meaning; what is ours alone stands under
``extensions``. The manifest holds nothing that cannot be folded again, save ``updated_at``,
``heartbeat_at`` and the supervisor's own observations, which the caller passes in.
"""

import math
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, Final

from workers.records.extensions import Observed, extensions_of
from workers.records.journal import Event, Fact
from workers.records.journal_index import JournalIndex, index_journal
from workers.records.layout import Layout
from workers.records.limits import SUMMARY_LIMIT_CHARS
from workers.records.spec import RunSpec, StageKind, StageSpec
from workers.records.utf8 import readable

RUNNER: Final = "pipeline-supervisor"


class Status(StrEnum):
    """Where a run stands; the last three are final."""

    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


FINAL: Final = (Status.SUCCEEDED, Status.FAILED, Status.CANCELLED)


def status_of(facts: Iterable[Fact]) -> Status:
    """The run's status as its journal tells it."""
    status = Status.QUEUED
    for fact in facts:
        if fact.event == Event.VERDICT:
            return Status(str(fact.data.get("status")))
        if fact.event == Event.RUN_STARTED:
            status = Status.IN_PROGRESS
    return status


def fold_manifest(
    spec: RunSpec, facts: Iterable[Fact], *, layout: Layout, observed: Observed
) -> dict[str, Any]:
    """Make the manifest.

    Args:
        spec: what was asked.
        facts: the run's journal, in order.
        layout: the root that paths are relative to.
        observed: what the journal does not tell.

    Returns:
        The content of manifest.json, every field of version 1 present.
    """
    facts = tuple(facts)
    fold = index_journal(spec, facts)
    run = layout.run_dir(spec.task_id, spec.run_id)
    started_at = fold.started.at if fold.started else fold.accepted_at
    completed_at = max(fold.verdict.at, started_at) if fold.verdict else None
    verdict: Mapping[str, Any] = fold.verdict.data if fold.verdict else {}
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
        "status_detail": verdict.get("detail"),
        "started_at": started_at,
        "completed_at": completed_at,
        "updated_at": observed.updated_at,
        "heartbeat_at": observed.heartbeat_at,
        "heartbeat_interval_seconds": math.ceil(spec.limits.heartbeat_interval_s),
        "heartbeat_stale_after_seconds": math.ceil(spec.limits.heartbeat_stale_after_s),
        "artifact_root": layout.relative(run.path),
        "compat_path": layout.relative(run.path),
        "log_path": layout.relative(run.journal),
        "summary": _summary(spec, fold),
        "metrics_recorded": fold.verdict is not None,
        "resume_token": spec.resume_token,
        "resume_events": [],
        "approvals": [],
        "commands": [
            _command(layout, spec, index, stage, fold)
            for index, stage in enumerate(spec.pipeline.stages, 1)
        ],
        "child_runs": _children(layout, spec, fold),
        "run_summary_path": None,
        "instructions_hash": None,
        "instructions_sources": [],
        "extensions": extensions_of(spec, fold, observed),
    }


def _command(
    layout: Layout, spec: RunSpec, index: int, stage: StageSpec, fold: JournalIndex
) -> dict[str, Any]:
    begun, ended = fold.begun.get(stage.id), fold.ended.get(stage.id)
    end: Mapping[str, Any] = ended.data if ended else {}
    child = fold.children.get(stage.id)
    is_command = stage.kind == StageKind.COMMAND
    run = layout.run_dir(spec.task_id, spec.run_id)
    # Where a file is follows from its run and stage, whatever path a journal names.
    log, error_file = run.stage_log(index, stage.id, "stdout"), run.error_file(index, stage.id)
    summary = end.get("summary")
    if ended:
        status = str(end.get("status"))
    elif stage.id in fold.kept:
        status, summary = Status.SUCCEEDED, _kept(fold, stage)
    elif begun:
        status = "failed" if fold.verdict else "running"
    else:
        status, summary = "pending", _unmet(fold, stage)
    text = stage.command if isinstance(stage.command, str) else " ".join(stage.command or ())
    text = readable(text)
    return {
        "index": index,
        "id": stage.id,
        "title": stage.title,
        "command": text if is_command else None,
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


def _unmet(fold: JournalIndex, stage: StageSpec) -> str | None:
    """Why a stage was never begun, None where it still may be, or nobody says."""
    need = fold.verdict and (fold.verdict.data.get("unmet") or {}).get(stage.id)
    if not need:
        return None
    return f"not begun: it needs {need}, which {'failed' if need in fold.ended else 'did not run'}"


def _kept(fold: JournalIndex, stage: StageSpec) -> str:
    return f"kept from run {fold.kept[stage.id]}"


def _children(layout: Layout, spec: RunSpec, fold: JournalIndex) -> list[dict[str, Any]]:
    return [
        {
            "run_id": fact.data.get("sub_run_id"),
            "pipeline_id": fact.data.get("pipeline"),
            "status": fact.data.get("status") or str(Status.IN_PROGRESS),
            "manifest": layout.relative(
                layout.run_dir(spec.task_id, str(fact.data.get("sub_run_id"))).manifest
            ),
        }
        for fact in fold.children.values()
    ]


def _summary(spec: RunSpec, fold: JournalIndex) -> str | None:
    if fold.verdict is None:
        return None
    lines = []
    for stage in spec.pipeline.stages:
        said = fold.ended[stage.id].data.get("summary") if stage.id in fold.ended else None
        if stage.id in fold.kept:
            said = _kept(fold, stage)
        if said:
            lines.append(f"{stage.id}: {said}")
    reason = fold.verdict.data.get("reason")
    return "\n".join([*lines, str(reason)] if reason else lines) or None

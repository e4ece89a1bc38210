"""The manifest's ``extensions``: what is ours alone, and what the supervisor saw of a run."""

from collections.abc import Mapping
from typing import Any, Final

from workers.records.dataclass import dataclass
from workers.records.journal_index import JournalIndex
from workers.records.spec import RunSpec, StageSpec

SCHEMA: Final = {"name": "pipeline-supervisor/manifest", "version": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What the journal does not tell.

    Attributes:
        updated_at: RFC 3339 UTC, when this manifest was made.
        heartbeat_at: the newest beat.
        warnings: what an operator should know: {"code", "message", ...}.
        slowest_manifest_write_s: of this run so far, in seconds.
        liveness: the supervisor's word for the worker: fresh, late, unresponsive, ...
    """

    updated_at: str
    heartbeat_at: str | None = None
    warnings: tuple[Mapping[str, Any], ...] = ()
    slowest_manifest_write_s: float = 0.0
    liveness: str | None = None


def observed_in(manifest: Mapping[str, Any]) -> Observed:
    """What a manifest holds that its journal does not tell."""
    extensions = manifest.get("extensions")
    extensions = extensions if isinstance(extensions, dict) else {}
    return Observed(
        updated_at=str(manifest.get("updated_at")),
        heartbeat_at=manifest.get("heartbeat_at"),
        slowest_manifest_write_s=extensions.get("slowest_manifest_write_s") or 0.0,
        liveness=extensions.get("liveness"),
    )


_STAGE_KEYS: Final = (
    "status",
    "reason",
    "signal",
    "duration_s",
    "stdout",
    "stderr",
    "peak_rss_bytes",
    "cpu_s",
    "leftover_count",
    "output_incomplete",
)


def extensions_of(spec: RunSpec, fold: JournalIndex, observed: Observed) -> dict[str, Any]:
    """What stands under ``extensions``."""
    verdict: Mapping[str, Any] = fold.verdict.data if fold.verdict else {}
    beats = verdict.get("heartbeat") or {}
    return {
        "schema": SCHEMA,
        "accepted_at": fold.accepted_at,
        "asked_by": spec.asked_by,
        "batch": spec.batch,
        "params": dict(spec.params),
        "priority": spec.priority,
        "group": spec.group,
        "resources": dict(spec.pipeline.resources),
        "after": [leader.run_id for leader in spec.after],
        "retry_of": spec.retry_of,
        "kept": dict(fold.kept),
        "worker": fold.started.data.get("identity") if fold.started else None,
        "attempt": fold.started.data.get("attempt") if fold.started else None,
        "liveness": observed.liveness,
        "reason": verdict.get("reason"),
        "verdict_by": fold.verdict.by if fold.verdict else None,
        "duration_s": verdict.get("duration_s"),
        "leftover_pids": verdict.get("leftover_pids") or [],
        "stages": [_stage_extension(stage, fold) for stage in spec.pipeline.stages],
        "warnings": [*fold.warnings, *observed.warnings],
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


def _stage_extension(stage: StageSpec, fold: JournalIndex) -> dict[str, Any]:
    ended = fold.ended.get(stage.id)
    begun = fold.begun.get(stage.id)
    data: Mapping[str, Any] = ended.data if ended else {}
    if stage.id in fold.kept:
        data = {"status": "succeeded"}
    facts: dict[str, Any] = {key: data.get(key) for key in _STAGE_KEYS}
    for stream in ("stdout", "stderr"):
        counts = facts[stream]
        if isinstance(counts, dict):
            dropped = counts.get("seen_bytes", 0) - counts.get("kept_bytes", 0)
            facts[stream] = {**counts, "dropped_bytes": dropped}
    tries = data.get("try") or (begun.data.get("try") if begun else None)
    return {"id": stage.id, "tries": tries or 0, **facts}

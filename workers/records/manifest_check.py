"""Whether this version can use a manifest on disk; every reader checks here first."""

from typing import Any, Final

from workers.records.json_reader import JsonReader, newer_record
from workers.records.manifest import Status
from workers.records.typed_errors import BadRecordError

VERSION: Final = 1
_TEXTS: Final = (
    *("task_id", "run_id", "pipeline_id", "pipeline_title"),
    *("status", "started_at", "artifact_root"),
)
_TEXTS_OR_NULL: Final = ("status_detail", "completed_at", "heartbeat_at", "summary")


def check_manifest(data: dict[str, Any], path: str, *, task_id: str, run_id: str) -> None:
    """Check a manifest against its format and its place; unknown keys are ignored.

    Args:
        data: the record.
        path: the file that it came from, for the error.
        task_id: the task that its directory belongs to.
        run_id: the run that its directory belongs to.

    Raises:
        NewerRecordError: a later version wrote it.
        BadRecordError: it is of another run, or a value that readers need has another type.
    """
    read = JsonReader(data, path)
    read.require("status_detail", "completed_at", "heartbeat_at", "commands")
    if read.integer("version") > VERSION:
        raise newer_record(path, f"version {data['version']}")
    for key in _TEXTS:
        read.text(key)
    for key in _TEXTS_OR_NULL:
        read.text_or_none(key)
    if data["status"] not in tuple(Status):
        raise read.bad("status", "must be one of " + ", ".join(Status))
    if (data["task_id"], data["run_id"]) != (task_id, run_id):
        reason = f"is of run {data['run_id']} of task {data['task_id']}"
        raise BadRecordError(path=path, reason=reason)
    for command in read.children("commands"):
        command.require("exit_code", "summary", "log_path", "error_file")
        command.integer("index")
        for key in ("id", "status"):
            command.text(key)
        command.integer_or_none("exit_code")
        for key in ("summary", "log_path", "error_file", "sub_run_id", "started_at", "kind"):
            command.text_or_none(key)
        command.text_or_none("completed_at")
    _check_extensions(read.child("extensions"))


def _check_extensions(read: JsonReader) -> None:
    for key in ("duration_s", "slowest_manifest_write_s", "slowest_journal_write_s"):
        read.number_or_none(key)
    for key in ("reason", "accepted_at", "group", "retry_of", "liveness", "verdict_by", "batch"):
        read.text_or_none(key)
    for key in ("attempt", "priority"):
        read.integer_or_none(key)
    for key in ("params", "kept"):
        read.pairs(key)
    read.amounts("resources")
    read.texts("after")
    read.integers_or_none("leftover_pids")
    worker = read.child_or_none("worker")
    if worker is not None:
        for key in ("host", "boot_id"):
            worker.text_or_none(key)
    beats = read.child_or_none("heartbeat")
    if beats is not None:
        for key in ("writes_ok", "writes_failed"):
            beats.integer_or_none(key)
        beats.number_or_none("slowest_s")
    for stage in read.children("stages"):
        stage.text("id")
        stage.number_or_none("duration_s")
        stage.text_or_none("signal")
        for key in ("stdout", "stderr"):
            counts = stage.child_or_none(key)
            if counts is not None:
                counts.integer_or("dropped_bytes", 0)
    for warning in read.children("warnings"):
        warning.text("message")

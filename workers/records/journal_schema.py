"""Types of the values in journals and histories, checked once on reading.

Both files may be damaged or edited. A journal line with a known event and data of another type is
not a fact; a history line with a value of another type is not a finished run. Both are counted as
bad lines, like a line that does not parse.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from workers.records.ids import id_problem, is_run_id
from workers.records.limits import INTEGER_LIMIT, NUMBER_LIMIT

_Check = Callable[[object], bool]


def _id(value: object) -> bool:
    return isinstance(value, str) and id_problem(value) is None


def _run_id(value: object) -> bool:
    return isinstance(value, str) and is_run_id(value)


def _text(value: object) -> bool:
    return isinstance(value, str)


def _whole(value: object) -> bool:
    return type(value) is int and -INTEGER_LIMIT <= value <= INTEGER_LIMIT


def _seconds(value: object) -> bool:
    return type(value) in (int, float) and 0 <= value <= NUMBER_LIMIT  # type: ignore[operator]


def _object(value: object) -> bool:
    return isinstance(value, dict)


def _status(value: object) -> bool:
    return value in ("succeeded", "failed", "cancelled")


def _list_of(check: _Check) -> _Check:
    return lambda value: isinstance(value, list) and all(map(check, value))


def _object_of(check: _Check) -> _Check:
    return lambda value: isinstance(value, dict) and all(map(check, value.values()))


def _or_null(check: _Check) -> _Check:
    return lambda value: value is None or check(value)


_text_or_null = _or_null(_text)
_whole_or_null = _or_null(_whole)
_seconds_or_null = _or_null(_seconds)
_counts_or_null = _or_null(_object_of(_whole))

_STAGE: Final = {"stage": _id, "index": _whole_or_null}
_ENDED: Final = {
    **_STAGE,
    "status": _text,
    "exit_code": _whole_or_null,
    "signal": _text_or_null,
    "summary": _text_or_null,
    "error_file": _text_or_null,
    "duration_s": _seconds_or_null,
    "stdout": _counts_or_null,
    "stderr": _counts_or_null,
}
_EVENTS: Final[Mapping[str, Mapping[str, _Check]]] = {
    "run_started": {"identity": _or_null(_object), "root_id": _text_or_null},
    "stage_waiting": {**_STAGE, "slots": _list_of(_text)},
    "stage_started": {**_STAGE, "mark_key": _text_or_null, "log_limit_bytes": _whole_or_null},
    "stage_ended": _ENDED,
    "stage_retried": _ENDED,
    "stage_kept": {**_STAGE, "kept_from": _run_id},
    "child_started": {**_STAGE, "sub_run_id": _run_id},
    "child_ended": {**_STAGE, "sub_run_id": _run_id},
    "verdict": {
        "status": _status,
        "detail": _text_or_null,
        "reason": _text_or_null,
        "duration_s": _seconds_or_null,
        "heartbeat": _or_null(_object_of(_seconds)),
        "leftover_pids": _or_null(_list_of(_whole)),
        "unmet": _or_null(_object_of(_id)),
    },
}
_HISTORY: Final[Mapping[str, _Check]] = {
    "taskId": _id,
    "runId": _run_id,
    "status": _text,
    "timestamp": _text_or_null,
    "statusDetail": _text_or_null,
    "pipelineId": _or_null(_id),
    "startedAt": _text_or_null,
    "durationSeconds": _seconds_or_null,
    "stages": _counts_or_null,
    "manifest": _text_or_null,
    "parentRunId": _or_null(_run_id),
    "host": _text_or_null,
    "heartbeatWrites": _whole_or_null,
    "heartbeatFailures": _whole_or_null,
    "largestStreamBytes": _whole_or_null,
    "largestErrorDetailBytes": _whole_or_null,
    "largestErrorFileBytes": _whole_or_null,
    "leftAlive": _whole_or_null,
    "badLines": _whole_or_null,
    "slowestHeartbeatSeconds": _seconds_or_null,
    "slowestManifestSeconds": _seconds_or_null,
}


def invalid_history_key(data: Mapping[str, Any]) -> str | None:
    """The first key of a history's line with a value of the wrong type; None if there is none."""
    return next((key for key, check in _HISTORY.items() if not check(data.get(key))), None)


def invalid_key(event: str, data: Mapping[str, Any]) -> str | None:
    """The first key of an event's data with a value of the wrong type; None if there is none.

    Args:
        event: the event's name; an unknown one may contain anything.
        data: the event's own keys.
    """
    checks = _EVENTS.get(event, {})
    return next((key for key, check in checks.items() if not check(data.get(key))), None)

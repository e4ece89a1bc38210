"""What the lines of journals and histories must hold, so that whoever folds them need not ask.

Both are files: they may be damaged or edited. A line of a journal that names an event of ours with
data of another shape is no fact, and a line of a history with a value of another type is no
finished run; both are counted as bad lines, like one that does not parse.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from workers.records.ids import id_problem, is_run_id
from workers.records.limits import INTEGER_LIMIT, NUMBER_LIMIT

_ENDINGS: Final = ("succeeded", "failed", "cancelled")


def _id(value: object) -> bool:
    return isinstance(value, str) and id_problem(value) is None


def _text(value: object) -> bool:
    return isinstance(value, str)


def _whole(value: object) -> bool:
    return type(value) is int and -INTEGER_LIMIT <= value <= INTEGER_LIMIT


def _seconds(value: object) -> bool:
    return type(value) in (int, float) and 0 <= value <= NUMBER_LIMIT  # type: ignore[operator]


def _object(value: object) -> bool:
    return isinstance(value, dict)


def _pids(value: object) -> bool:
    return isinstance(value, list) and all(_whole(pid) for pid in value)


def _texts(value: object) -> bool:
    return isinstance(value, list) and all(_text(item) for item in value)


def _needs(value: object) -> bool:
    return isinstance(value, dict) and all(_id(need) for need in value.values())


def _run_id(value: object) -> bool:
    return isinstance(value, str) and is_run_id(value)


def _counts(value: object) -> bool:
    return isinstance(value, dict) and all(_whole(count) for count in value.values())


def _beats(value: object) -> bool:
    return isinstance(value, dict) and all(_seconds(figure) for figure in value.values())


def _ending(value: object) -> bool:
    return value in _ENDINGS


def _or_null(kind: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: value is None or kind(value)


_STAGE: Final = {"stage": _id, "index": _or_null(_whole)}
_ENDED: Final = {
    **_STAGE,
    "status": _text,
    "exit_code": _or_null(_whole),
    "signal": _or_null(_text),
    "summary": _or_null(_text),
    "error_file": _or_null(_text),
    "duration_s": _or_null(_seconds),
    "stdout": _or_null(_counts),
    "stderr": _or_null(_counts),
}
_SHAPES: Final[Mapping[str, Mapping[str, Callable[[object], bool]]]] = {
    "run_started": {"identity": _or_null(_object), "root_id": _or_null(_text)},
    "stage_waiting": {**_STAGE, "slots": _texts},
    "stage_started": {
        **_STAGE,
        "mark_key": _or_null(_text),
        "log_limit_bytes": _or_null(_whole),
    },
    "stage_ended": _ENDED,
    "stage_retried": _ENDED,
    "stage_kept": {**_STAGE, "kept_from": _run_id},
    "child_started": {**_STAGE, "sub_run_id": _run_id},
    "child_ended": {**_STAGE, "sub_run_id": _run_id},
    "verdict": {
        "status": _ending,
        "detail": _or_null(_text),
        "reason": _or_null(_text),
        "duration_s": _or_null(_seconds),
        "heartbeat": _or_null(_beats),
        "leftover_pids": _or_null(_pids),
        "unmet": _or_null(_needs),
    },
}


_HISTORY: Final[Mapping[str, Callable[[object], bool]]] = {
    "taskId": _id,
    "runId": _run_id,
    "status": _text,
    "timestamp": _or_null(_text),
    "statusDetail": _or_null(_text),
    "pipelineId": _or_null(_id),
    "startedAt": _or_null(_text),
    "durationSeconds": _or_null(_seconds),
    "stages": _or_null(_counts),
    "manifest": _or_null(_text),
    "parentRunId": _or_null(_run_id),
    "host": _or_null(_text),
    **dict.fromkeys(
        (
            "heartbeatWrites",
            "heartbeatFailures",
            "largestStreamBytes",
            "largestErrorDetailBytes",
            "largestErrorFileBytes",
            "leftAlive",
            "badLines",
        ),
        _or_null(_whole),
    ),
    "slowestHeartbeatSeconds": _or_null(_seconds),
    "slowestManifestSeconds": _or_null(_seconds),
}


def invalid_history_key(data: Mapping[str, Any]) -> str | None:
    """The first key of a history's line that is not what it must be, None if all are."""
    return next((key for key, fits in _HISTORY.items() if not fits(data.get(key))), None)


def invalid_key(event: str, data: Mapping[str, Any]) -> str | None:
    """The first key of an event's data that is not what it must be, None where all are.

    Args:
        event: what the fact tells; one that this version does not know may hold anything.
        data: the event's own keys.
    """
    return next(
        (key for key, fits in _SHAPES.get(event, {}).items() if not fits(data.get(key))), None
    )

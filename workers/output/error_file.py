"""The error file of a failed stage: at most 10,000 bytes on disk, whatever the stage printed.

It contains the **end** of each stream, where tools report what failed. The room is divided before
anything is written: the facts first, then stderr, then stdout, a part of which always stays.
"""

import json
from typing import Any, Final

from workers.output.capture import BoundedLog
from workers.output.masking import Mask
from workers.output.truncate import SEQUENCE_LIMIT_BYTES, TextTail, head_of, tail_of
from workers.records.atomic import WriteCost, replace_file
from workers.records.dataclass import dataclass
from workers.records.limits import Limits

_COMMAND_JSON_BYTES: Final = 1_500  # of the command's text, so that output has room
_MESSAGE_JSON_BYTES: Final = 750
_STDOUT_JSON_BYTES: Final = 400  # its last line or two, however long stderr is


@dataclass(frozen=True, slots=True, kw_only=True)
class StageFailure:
    """The content of an error file except output."""

    run_id: str
    task_id: str
    index: int
    stage_id: str
    command: str
    reason: str
    message: str | None
    exit_code: int | None
    signal: str | None
    created_at: str


def write_error_file(
    path: str,
    failure: StageFailure,
    *,
    stdout: BoundedLog | None,
    stderr: BoundedLog | None,
    limits: Limits,
    mask: Mask | None,
) -> WriteCost:
    """Write the file; raises as replace_file."""
    # More than is kept, to see whether a cut would be inside an escape sequence.
    wanted_bytes = limits.error_detail_limit_bytes + SEQUENCE_LIMIT_BYTES
    data = error_bytes(
        failure,
        stdout=b"" if stdout is None else stdout.end(wanted_bytes),
        stderr=b"" if stderr is None else stderr.end(wanted_bytes),
        seen=(
            0 if stdout is None else stdout.stored_bytes,
            0 if stderr is None else stderr.stored_bytes,
        ),
        limits=limits,
        mask=mask,
    )
    return replace_file(path, data)


def error_bytes(
    failure: StageFailure,
    *,
    stdout: bytes,
    stderr: bytes,
    seen: tuple[int, int],
    limits: Limits,
    mask: Mask | None,
) -> bytes:
    """The file's content.

    Args:
        failure: what happened.
        stdout: the end of that stream, secrets hidden.
        stderr: likewise.
        seen: size of stdout and of stderr, secrets hidden, in bytes.
        limits: of the details and of the file, in bytes.
        mask: hides secrets in the command and the message.

    Returns:
        UTF-8 JSON of at most ``limits.error_file_limit_bytes`` bytes.
    """

    def fit(data: bytes, seen_bytes: int, room: int) -> TextTail:
        return tail_of(
            data,
            is_cut=seen_bytes > len(data),
            limit_bytes=limits.error_detail_limit_bytes,
            json_limit_bytes=room,
        )

    # Without output the counts are longest, so this is the most that the facts can take; one byte
    # more per stream for "false", which is longer than "true".
    empty = TextTail(text="", stream_bytes=0, json_bytes=0)
    room = limits.error_file_limit_bytes - len(_render(failure, empty, empty, seen, mask)) - 2
    least = fit(stdout, seen[0], min(_STDOUT_JSON_BYTES, room // 4))
    err = fit(stderr, seen[1], room - least.json_bytes)
    out = fit(stdout, seen[0], room - err.json_bytes)
    return _render(failure, out, err, seen, mask)


def _render(
    failure: StageFailure,
    stdout: TextTail,
    stderr: TextTail,
    seen: tuple[int, int],
    mask: Mask | None,
) -> bytes:
    command, message = failure.command, failure.message or ""
    if mask is not None:
        command, message = mask.text(command), mask.text(message)
    out_dropped, err_dropped = seen[0] - stdout.stream_bytes, seen[1] - stderr.stream_bytes
    record: dict[str, Any] = {
        "run_id": failure.run_id,
        "task_id": failure.task_id,
        "command_index": failure.index,
        "command_id": failure.stage_id,
        "command": head_of(command, _COMMAND_JSON_BYTES),
        "reason": failure.reason,
        "message": head_of(message, _MESSAGE_JSON_BYTES) or None,
        "details": {
            "exit_code": failure.exit_code,
            "signal": failure.signal,
            "stdout": stdout.text,
            "stderr": stderr.text,
            "stdout_truncated": out_dropped > 0,
            "stderr_truncated": err_dropped > 0,
            "stdout_dropped_bytes": out_dropped,
            "stderr_dropped_bytes": err_dropped,
        },
        "created_at": failure.created_at,
    }
    return (json.dumps(record, indent=2, ensure_ascii=False) + "\n").encode()

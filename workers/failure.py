"""The error file of a failed stage: at most 10,000 bytes on disk, whatever the stage printed.

It keeps the **end** of each stream, where tools say what went wrong. JSON can swell a byte to six,
so the sizes are found by writing and measuring, never by guessing.
"""

import json
from dataclasses import dataclass
from typing import Any, Final

from workers.capture import BoundedLog, first_character
from workers.masking import Mask
from workers.records.atomic import Receipt, replace_file
from workers.records.limits import Limits

_COMMAND_LIMIT_BYTES: Final = 1_000  # of the command's text, so that output keeps its room
_REASON_LIMIT_BYTES: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What an error file tells, output aside."""

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
    failure: Failure,
    *,
    stdout: BoundedLog | None,
    stderr: BoundedLog | None,
    limits: Limits,
    mask: Mask | None,
) -> Receipt:
    """Write the file; OSError where it cannot be written."""
    data = error_bytes(
        failure,
        stdout=b"" if stdout is None else stdout.end(limits.error_detail_limit_bytes),
        stderr=b"" if stderr is None else stderr.end(limits.error_detail_limit_bytes),
        seen=(
            0 if stdout is None else stdout.seen_bytes,
            0 if stderr is None else stderr.seen_bytes,
        ),
        limits=limits,
        mask=mask,
    )
    return replace_file(path, data)


def error_bytes(
    failure: Failure,
    *,
    stdout: bytes,
    stderr: bytes,
    seen: tuple[int, int],
    limits: Limits,
    mask: Mask | None,
) -> bytes:
    """Make the file's content.

    Args:
        failure: what happened.
        stdout: the end of that stream.
        stderr: the end of the other.
        seen: how many bytes the stage wrote to stdout and to stderr.
        limits: of the details and of the whole, in bytes.
        mask: what hides secrets.

    Returns:
        UTF-8 JSON of at most ``limits.error_file_limit_bytes`` bytes.
    """
    detail_limit = limits.error_detail_limit_bytes
    out, err = _text(stdout, detail_limit), _text(stderr, detail_limit)
    while True:
        data = _render(failure, out, err, seen, mask)
        over = len(data) - limits.error_file_limit_bytes
        if over <= 0:
            return data
        # stdout gives way first: errors are told on stderr. Where stderr is empty, stdout is all
        # there is, and shrinks from its beginning all the same.
        longer, share = (out, 0.8) if len(out) > 200 or not err else (err, 0.9)
        shorter = longer[len(longer) - int(len(longer) * share) :]
        if longer is out:
            out = shorter
        else:
            err = shorter
        if not out and not err:
            failure = _shorten(failure)


def _shorten(failure: Failure) -> Failure:
    from dataclasses import replace

    return replace(
        failure,
        command=failure.command[: len(failure.command) // 2],
        message=None if failure.message is None else failure.message[: len(failure.message) // 2],
    )


def _text(data: bytes, limit_bytes: int) -> str:
    """The end of a stream as text of at most so many UTF-8 bytes, cut between characters."""
    text = data[first_character(data) :].decode("utf-8", "backslashreplace")
    encoded = text.encode("utf-8", "backslashreplace")[-limit_bytes:]
    return encoded[first_character(encoded) :].decode("utf-8", "backslashreplace")


def _cut(text: str, limit_bytes: int) -> str:
    return text.encode("utf-8", "backslashreplace")[:limit_bytes].decode("utf-8", "ignore")


def _render(
    failure: Failure, stdout: str, stderr: str, seen: tuple[int, int], mask: Mask | None
) -> bytes:
    command = failure.command if mask is None else mask.text(failure.command)
    message = failure.message
    if message is not None and mask is not None:
        message = mask.text(message)
    out_bytes, err_bytes = len(stdout.encode()), len(stderr.encode())
    record: dict[str, Any] = {
        "run_id": failure.run_id,
        "task_id": failure.task_id,
        "command_index": failure.index,
        "command_id": failure.stage_id,
        "command": _cut(command, _COMMAND_LIMIT_BYTES),
        "reason": failure.reason,
        "message": None if message is None else _cut(message, _REASON_LIMIT_BYTES),
        "details": {
            "exit_code": failure.exit_code,
            "signal": failure.signal,
            "stdout": stdout,
            "stderr": stderr,
            "stdout_truncated": seen[0] > out_bytes,
            "stderr_truncated": seen[1] > err_bytes,
            "stdout_dropped_bytes": max(0, seen[0] - out_bytes),
            "stderr_dropped_bytes": max(0, seen[1] - err_bytes),
        },
        "created_at": failure.created_at,
    }
    return (json.dumps(record, indent=2, ensure_ascii=False) + "\n").encode("utf-8", "replace")


def last_line(stdout: BoundedLog, stderr: BoundedLog) -> str | None:
    """The last line that says something, of stderr, else of stdout; safe to show."""
    for log in (stderr, stdout):
        text = log.end(2_000).decode("utf-8", "replace")
        for line in reversed(text.splitlines()):
            clean = "".join(c if c.isprintable() else " " for c in line).strip()
            if clean:
                return clean
    return None

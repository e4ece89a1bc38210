"""The error file of a failed stage: at most 10,000 bytes on disk, whatever the stage printed.

It keeps the **end** of each stream, where tools say what went wrong. JSON can swell a byte to six,
so the sizes are found by writing and measuring, never by guessing.
"""

import json
from dataclasses import dataclass, replace
from typing import Any, Final

from workers.capture import BoundedLog, first_character
from workers.masking import Mask
from workers.records.atomic import Receipt, replace_file
from workers.records.limits import Limits

_COMMAND_LIMIT_BYTES: Final = 1_000  # of the command's text, so that output keeps its room
_REASON_LIMIT_BYTES: Final = 500
_STDOUT_KEPT_CHARS: Final = 200


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
    out, err = _Tail(stdout, seen[0], limits), _Tail(stderr, seen[1], limits)
    while True:
        data = _render(failure, out, err, mask)
        if len(data) <= limits.error_file_limit_bytes:
            return data
        # stdout gives way first, because errors are told on stderr, but a little of it stays.
        if len(out.text) > _STDOUT_KEPT_CHARS or not err.text:
            out.shorten(0.8)
        else:
            err.shorten(0.9)
        if not out.text and not err.text:
            failure = _shorten(failure)


class _Tail:
    """The end of a stream as text of a bounded size, cut between characters."""

    def __init__(self, data: bytes, seen_bytes: int, limits: Limits) -> None:
        self._seen_bytes = seen_bytes
        cut = seen_bytes > len(data)
        whole = data[first_character(data) :] if cut else data
        text = whole.decode("utf-8", "backslashreplace")
        encoded = text.encode()[-limits.error_detail_limit_bytes :]
        self.text = encoded[first_character(encoded) :].decode() if len(encoded) else ""
        self._raw_bytes = len(whole)
        self._is_whole = len(self.text) == len(text)

    def shorten(self, share: float) -> None:
        """Keep this share of the end."""
        self.text = self.text[len(self.text) - int(len(self.text) * share) :]
        self._is_whole = False

    @property
    def dropped_bytes(self) -> int:
        """How many bytes of the stream are not told; exact unless bytes were spelled out."""
        kept = len(self.text.encode())
        return self._seen_bytes - (
            self._raw_bytes if self._is_whole else min(kept, self._raw_bytes)
        )


def _shorten(failure: Failure) -> Failure:
    return replace(
        failure,
        command=failure.command[: len(failure.command) // 2],
        message=None if failure.message is None else failure.message[: len(failure.message) // 2],
    )


def _cut(text: str, limit_bytes: int) -> str:
    return text.encode("utf-8", "backslashreplace")[:limit_bytes].decode("utf-8", "ignore")


def _render(failure: Failure, stdout: _Tail, stderr: _Tail, mask: Mask | None) -> bytes:
    command = failure.command if mask is None else mask.text(failure.command)
    message = failure.message
    if message is not None and mask is not None:
        message = mask.text(message)
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
            "stdout": stdout.text,
            "stderr": stderr.text,
            "stdout_truncated": stdout.dropped_bytes > 0,
            "stderr_truncated": stderr.dropped_bytes > 0,
            "stdout_dropped_bytes": stdout.dropped_bytes,
            "stderr_dropped_bytes": stderr.dropped_bytes,
        },
        "created_at": failure.created_at,
    }
    return (json.dumps(record, indent=2, ensure_ascii=False) + "\n").encode("utf-8", "replace")

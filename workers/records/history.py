"""history.ndjson and state.json: the finished runs of a task.

The history is append-only, one line per finished run. A line counts once its newline is there;
damaged lines are skipped. ``state.json`` is a bounded view of it: totals and the newest lines. Its
``historyBytes`` is the part of the history that it covers, so a reader can continue from there.
"""

import os
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from workers.records.files import open_regular, parse_object, read_from
from workers.records.ids import RUN_ID_PATTERN
from workers.records.journal_schema import invalid_history_key
from workers.records.typed_errors import BadRecordError

_CHUNK_BYTES: Final = 1024 * 1024
_CLOCK_MARGIN_BYTES: Final = 1024 * 1024  # about 2,000 lines
_RUN_ID: Final = re.compile(RUN_ID_PATTERN.encode())
_TIMESTAMP: Final = re.compile(rb'"timestamp": *"([^"]+)"')
STATUSES: Final = ("succeeded", "failed", "cancelled")


def history_line(manifest: Mapping[str, Any], manifest_path: str) -> dict[str, Any]:
    """The history's line of a finished run.

    Args:
        manifest: its final manifest.
        manifest_path: the manifest's path, relative to the root.
    """
    stages = [command["status"] for command in manifest["commands"]]
    extensions = manifest["extensions"]
    beats = extensions["heartbeat"]
    return {
        "taskId": manifest["task_id"],
        "runId": manifest["run_id"],
        "timestamp": manifest["completed_at"],
        "status": manifest["status"],
        "statusDetail": manifest["status_detail"],
        "pipelineId": manifest["pipeline_id"],
        "startedAt": manifest["started_at"],
        "durationSeconds": extensions["duration_s"],
        "stages": {
            status: stages.count(status) for status in ("succeeded", "failed", "skipped", "pending")
        },
        "manifest": manifest_path,
        "parentRunId": manifest["parent_run_id"],
        "heartbeatWrites": (beats["writes_ok"] or 0) + (beats["writes_failed"] or 0),
        "heartbeatFailures": beats["writes_failed"] or 0,
        "slowestHeartbeatSeconds": beats["slowest_s"] or 0.0,
        "slowestManifestSeconds": extensions["slowest_manifest_write_s"],
        "leftAlive": len(extensions["leftover_pids"]),
        "host": (extensions["worker"] or {}).get("host"),
    }


def _open(path: str) -> int | None:
    try:
        return open_regular(path, os.O_RDONLY)
    except FileNotFoundError:
        return None


def _parse(line: bytes, path: str) -> dict[str, Any] | None:
    """Read one line; None if it is not a finished run."""
    try:
        data = parse_object(line, path)
    except BadRecordError:
        return None
    return data if invalid_history_key(data) is None else None


def read_lines(path: str, offset: int = 0) -> Iterator[tuple[int, dict[str, Any]]]:
    """Read a history from a byte offset.

    Yields:
        The offset after each whole line, and the line. Nothing if there is no file.
    """
    fd = _open(path)
    if fd is None:
        return
    try:
        rest = b""
        while part := read_from(fd, offset + len(rest), _CHUNK_BYTES):
            rest += part
            whole, newline, rest = rest.rpartition(b"\n")
            for line in (whole + newline).splitlines(keepends=True):
                offset += len(line)
                if (data := _parse(line, path)) is not None:
                    yield offset, data
    finally:
        os.close(fd)


def lines_of_runs(path: str, run_ids: Collection[str]) -> dict[str, dict[str, Any]]:
    """The lines of some runs, by run id; the first one if a run has several.

    Searches from the end, back to when the oldest of the runs was requested: a run is recorded
    later. ``_CLOCK_MARGIN_BYTES`` allows for a clock that was set back meanwhile.

    Args:
        path: the history; nothing if there is none.
        run_ids: the runs.
    """
    lines_by_id: dict[str, dict[str, Any]] = {}
    wanted = frozenset(run_ids)
    fd = _open(path) if wanted else None
    if fd is None:
        return lines_by_id
    try:
        size = at = os.fstat(fd).st_size
        oldest = min(wanted)[: len("2025-10-31T22-56-35-120Z")]
        rest: bytes | None = None
        while at > 0:
            step = min(at, _CHUNK_BYTES)
            at -= step
            data = read_from(fd, at, step)
            data = data[: data.rfind(b"\n") + 1] if rest is None else data + rest
            first, newline, whole = data.partition(b"\n")
            rest = first + newline
            lines = (whole if at else rest + whole).splitlines()
            for line in reversed(lines):
                if wanted.isdisjoint(name.decode() for name in _RUN_ID.findall(line)):
                    continue
                record = _parse(line, path)
                if record is not None and record["runId"] in wanted:
                    lines_by_id[str(record["runId"])] = record
            if size - at >= _CLOCK_MARGIN_BYTES and lines and _stamp(lines[0]) < oldest:
                break
    finally:
        os.close(fd)
    return lines_by_id


def _stamp(line: bytes) -> str:
    """When a line's run ended, in the form of run ids; "" if the line does not contain it."""
    match = _TIMESTAMP.search(line)
    return match[1].decode("ascii", "replace").replace(":", "-").replace(".", "-") if match else ""


def count_lines(path: str) -> int:
    """The number of whole lines of a history, including damaged ones; 0 if there is no file."""
    fd = _open(path)
    count = offset = 0
    if fd is None:
        return count
    try:
        while part := read_from(fd, offset, _CHUNK_BYTES):
            count += part.count(b"\n")
            offset += len(part)
    finally:
        os.close(fd)
    return count


def last_lines(path: str, count: int, end: int | None = None) -> list[dict[str, Any]]:
    """The last ``count`` lines of a history, oldest first, read from its end.

    Args:
        path: the history; nothing if there is none.
        count: number of lines; damaged ones are counted and left out.
        end: read only what is before this offset, in bytes; None for the whole file.
    """
    fd = _open(path) if count else None
    if fd is None:
        return []
    try:
        at = os.fstat(fd).st_size if end is None else end
        data = b""
        while at > 0 and data.count(b"\n") <= count + 1:
            step = min(at, 65_536)
            at -= step
            data = read_from(fd, at, step) + data
    finally:
        os.close(fd)
    whole = data[: data.rfind(b"\n") + 1].splitlines()
    parsed = (_parse(line, path) for line in whole[-count:])
    return [line for line in parsed if line is not None]

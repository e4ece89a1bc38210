"""history.ndjson and state.json: which runs of a task have finished.

The history is append-only, one line per finished run, for ever; a line counts when its newline is
there, and lines of damage are passed over. ``state.json`` is a bounded view of it: the totals and
the newest lines. Its ``historyBytes`` says how much of the history it covers, so that a reader
which continues from there reads the tail and not the file.
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
_SURE_BYTES: Final = 1024 * 1024  # some 2,000 lines
_RUN_ID: Final = re.compile(RUN_ID_PATTERN.encode())
_TIMESTAMP: Final = re.compile(rb'"timestamp": *"([^"]+)"')
STATUSES: Final = ("succeeded", "failed", "cancelled")


def history_line(manifest: Mapping[str, Any], manifest_path: str) -> dict[str, Any]:
    """Make the history's line of a finished run.

    Args:
        manifest: its terminal manifest.
        manifest_path: where that stands, relative to the root.
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


def read_lines(path: str, offset: int = 0) -> Iterator[tuple[int, dict[str, Any]]]:
    """Read a history from a byte offset.

    Yields:
        The offset behind each whole line, and the line. Nothing where there is no file.
    """
    try:
        fd = open_regular(path, os.O_RDONLY)
    except FileNotFoundError:
        return
    try:
        rest = b""
        while part := read_from(fd, offset + len(rest), _CHUNK_BYTES):
            rest += part
            whole, newline, rest = rest.rpartition(b"\n")
            for line in (whole + newline).splitlines(keepends=True):
                offset += len(line)
                try:
                    yield offset, _parse(line, path)
                except BadRecordError:
                    continue
    finally:
        os.close(fd)


def _parse(line: bytes, path: str) -> dict[str, Any]:
    """Read one line; BadRecordError if it is no finished run."""
    data = parse_object(line, path)
    key = invalid_history_key(data)
    if key is not None:
        raise BadRecordError(path=path, reason=f"{key} is not what a line of a history holds")
    return data


def lines_of_runs(path: str, run_ids: Collection[str]) -> dict[str, dict[str, Any]]:
    """The lines of some runs, by run id; the first one if a run has several.

    Searched from the end, back to the time at which the oldest of them was asked for: a run is
    recorded later. A clock that was set back meanwhile is allowed for with ``_SURE_BYTES``.

    Args:
        path: the history; nothing if there is none.
        run_ids: the runs.
    """
    found: dict[str, dict[str, Any]] = {}
    wanted = frozenset(run_ids)
    try:
        fd = open_regular(path, os.O_RDONLY) if wanted else -1
    except FileNotFoundError:
        return found
    if fd < 0:
        return found
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
                _note(line, path, wanted, found)
            if size - at >= _SURE_BYTES and lines and _stamp(lines[0]) < oldest:
                break
    finally:
        os.close(fd)
    return found


def _note(line: bytes, path: str, wanted: frozenset[str], found: dict[str, dict[str, Any]]) -> None:
    """Put a line into ``found`` if it is of a wanted run."""
    if wanted.isdisjoint(name.decode() for name in _RUN_ID.findall(line)):
        return
    try:
        data = _parse(line, path)
    except BadRecordError:
        return
    if data["runId"] in wanted:
        found[str(data["runId"])] = data


def _stamp(line: bytes) -> str:
    """When a line says that its run ended, written as in run ids; "" if it does not say."""
    match = _TIMESTAMP.search(line)
    return match[1].decode("ascii", "replace").replace(":", "-").replace(".", "-") if match else ""


def count_lines(path: str) -> int:
    """How many whole lines a history has, those of damage included; 0 where there is no file."""
    try:
        fd = open_regular(path, os.O_RDONLY)
    except FileNotFoundError:
        return 0
    count = offset = 0
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
        path: the history; nothing where there is none.
        count: how many lines; lines of damage are among them and left out.
        end: only what stands before this offset, in bytes; None for all.
    """
    try:
        fd = open_regular(path, os.O_RDONLY)
    except FileNotFoundError:
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
    found = []
    for line in whole[-count:] if count else []:
        try:
            found.append(_parse(line, path))
        except BadRecordError:
            continue
    return found

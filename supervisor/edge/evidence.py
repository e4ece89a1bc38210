"""How large a finished run's files really are, looked up on the disk and not in our own claims.

A file that is gone or cannot be looked at counts as empty: measuring never costs a record.
"""

import os
from collections.abc import Mapping
from typing import Any

from workers.records.errors import TypedError
from workers.records.files import read_object
from workers.records.layout import RunDir


def measure_files(run: RunDir, manifest: Mapping[str, Any]) -> dict[str, int]:
    """Find the largest of a run's files, as keys of its history line; sizes in bytes."""
    errors = [run.error_file(c["index"], c["id"]) for c in manifest["commands"] if c["error_file"]]
    return {
        "largestStreamBytes": _largest_log(run.commands),
        "largestErrorFileBytes": max((_size(path) for path in errors), default=0),
        "largestErrorDetailBytes": max((_detail(path) for path in errors), default=0),
    }


def _largest_log(directory: str) -> int:
    try:
        with os.scandir(directory) as entries:
            return max((e.stat(follow_symlinks=False).st_size for e in entries), default=0)
    except OSError:
        return 0


def _size(path: str) -> int:
    try:
        return os.stat(path, follow_symlinks=False).st_size
    except OSError:
        return 0


def _detail(path: str) -> int:
    try:
        details = read_object(path).get("details")
    except (OSError, TypedError):
        return 0
    if not isinstance(details, dict):
        return 0
    return max(len(str(details.get(stream, "")).encode()) for stream in ("stdout", "stderr"))

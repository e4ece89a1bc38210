"""How large a finished run's files really are, looked up on the disk and not in our own claims."""

import os
from collections.abc import Mapping
from typing import Any

from workers.records.errors import TypedError
from workers.records.files import read_object
from workers.records.layout import Layout, RunDir


def measure_files(layout: Layout, run: RunDir, manifest: Mapping[str, Any]) -> dict[str, int]:
    """Find the largest of a run's files, as keys of its history line; sizes in bytes."""
    return {
        "largestStreamBytes": _largest_log(run.commands),
        "largestErrorFileBytes": max(
            (_size(os.path.join(layout.root, path)) for path in _error_files(manifest)), default=0
        ),
        "largestErrorDetailBytes": max(
            (_detail(os.path.join(layout.root, path)) for path in _error_files(manifest)),
            default=0,
        ),
    }


def _largest_log(directory: str) -> int:
    try:
        with os.scandir(directory) as entries:
            return max((e.stat(follow_symlinks=False).st_size for e in entries), default=0)
    except FileNotFoundError:
        return 0


def _error_files(manifest: Mapping[str, Any]) -> list[str]:
    return [c["error_file"] for c in manifest["commands"] if c["error_file"]]


def _size(path: str) -> int:
    try:
        return os.stat(path, follow_symlinks=False).st_size
    except FileNotFoundError:
        return 0


def _detail(path: str) -> int:
    try:
        details = read_object(path).get("details") or {}
    except (FileNotFoundError, TypedError):
        return 0
    return max(len(str(details.get(stream, "")).encode()) for stream in ("stdout", "stderr"))

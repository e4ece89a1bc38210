"""The files of a finished run: their sizes on disk, and flushing them.

A file that is missing or cannot be read counts as empty, so measuring never prevents recording.
"""

import contextlib
import os
import re
from collections.abc import Mapping
from typing import Any, Final

from workers.records.files import read_object, sync_dir, sync_file
from workers.records.layout import RunDir
from workers.records.typed_errors import BadFileError, TypedError

_EARLIER: Final = re.compile(r"\.try-[0-9]+(\.(?:stdout|stderr)\.log)$")


def measure_files(run: RunDir, manifest: Mapping[str, Any]) -> dict[str, int]:
    """The sizes of a run's largest files in bytes, as fields of its history line."""
    errors = [run.error_file(c["index"], c["id"]) for c in manifest["commands"] if c["error_file"]]
    return {
        "largestStreamBytes": _largest_log(run.commands),
        "largestErrorFileBytes": max((_size(path) for path in errors), default=0),
        "largestErrorDetailBytes": max((_detail(path) for path in errors), default=0),
    }


def stream_sizes(directory: str) -> dict[str, int]:
    """The bytes of each stream on disk, earlier tries included, by the name of its log.

    Raises:
        OSError: the directory cannot be read.
    """
    found: dict[str, int] = {}
    with os.scandir(directory) as entries:
        for entry in entries:
            name = _EARLIER.sub(r"\1", entry.name)
            found[name] = found.get(name, 0) + entry.stat(follow_symlinks=False).st_size
    return found


def _largest_log(directory: str) -> int:
    try:
        return max(stream_sizes(directory).values(), default=0)
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


def sync_logs(run: RunDir) -> OSError | None:
    """Flush the logs of a dead worker, and their names: a verdict will point to them.

    Returns:
        The error if the disk refused, otherwise None.
    """
    try:
        names = os.listdir(run.commands)
        for name in names:
            with contextlib.suppress(FileNotFoundError, BadFileError):
                sync_file(os.path.join(run.commands, name))
        if names:
            sync_dir(run.commands)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return error
    return None

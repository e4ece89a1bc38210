"""The files of a finished run on the disk itself: how large they are, and that they are flushed.

A file that is gone or cannot be read counts as empty: measuring never costs a record.
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
    """Find the largest of a run's files, as keys of its history line; sizes in bytes."""
    errors = [run.error_file(c["index"], c["id"]) for c in manifest["commands"] if c["error_file"]]
    return {
        "largestStreamBytes": _largest_log(run.commands),
        "largestErrorFileBytes": max((_size(path) for path in errors), default=0),
        "largestErrorDetailBytes": max((_detail(path) for path in errors), default=0),
    }


def stream_sizes(directory: str) -> dict[str, int]:
    """The bytes of each stream on disk: by the name of its log, those of earlier tries included.

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
    """The bytes of the stream that has most of them, in the logs of all its tries."""
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
    """Flush what a dead worker left in its logs, and their names: a verdict will point to them.

    Returns:
        Why the disk refused, None if it did not.
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

"""supervisor.log: one JSON object per line, its snake_case event first, bounded in size.

At 8 MiB the file is renamed to ``supervisor.log.1``, replacing the one before. A line torn by a
crash or a full disk is closed with ``<torn>`` before the next line. Logging never stops the
supervisor: a line that cannot be written is counted and dropped.
"""

import os
from typing import Any, Final

from workers.records.atomic import append_line, to_line
from workers.records.files import open_regular
from workers.records.request import now_text
from workers.records.typed_errors import TypedError

LOG_LIMIT_BYTES: Final = 8 * 1024 * 1024  # days of a busy supervisor at 300 bytes per run


class Log:
    """Appends to the supervisor's log.

    Args:
        path: the file.

    Attributes:
        lost_count: lines that could not be written.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self.lost_count = 0

    def write(self, event: str, **facts: Any) -> None:  # noqa: ANN401 - any JSON value
        """Append one line."""
        try:
            fd = open_regular(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT)
        except (OSError, TypedError):
            self.lost_count += 1
            return
        try:
            if os.fstat(fd).st_size > LOG_LIMIT_BYTES:
                os.rename(self._path, f"{self._path}.1")
            append_line(fd, to_line({"event": event, "at": now_text(), **facts}))
        except OSError:
            self.lost_count += 1
        finally:
            os.close(fd)

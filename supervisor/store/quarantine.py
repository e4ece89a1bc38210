"""Quarantines foreign files in a record's place: renamed next to it, never followed or removed.

``<name>.invalid-<n>`` is not a regular file (but a directory, a link, a FIFO or a socket), and
``<name>.corrupt-<n>`` does not parse.
"""

import contextlib
import os
from collections.abc import Callable

from workers.records.files import open_regular, read_object, sync_dir
from workers.records.typed_errors import BadFileError, BadRecordError


class Quarantine:
    """Makes room for records. Only the supervisor creates one.

    Args:
        report: called with the record's path, the reason, and the new path of the file.
    """

    def __init__(self, report: Callable[[str, str, str], None]) -> None:
        self._report = report

    def invalid(self, error: BadFileError) -> None:
        """Move away the file that the error names; if the disk refuses, callers try again."""
        self._move(str(error.facts["path"]), "invalid", str(error.facts["reason"]))

    def make_room(self, path: str, *, parses: bool = True) -> None:
        """Move away a file that cannot be the record that will be written or appended to.

        Args:
            path: the record; it may be missing.
            parses: it must be a JSON object.
        """
        try:
            if parses:
                read_object(path)
            else:
                os.close(open_regular(path, os.O_RDONLY))
        except BadFileError as error:
            self.invalid(error)
        except BadRecordError as error:
            self._move(path, "corrupt", str(error.facts["reason"]))
        except OSError:
            return  # missing, or refused: then writing it fails, too

    def _move(self, path: str, kind: str, reason: str) -> None:
        number = 1
        while os.path.lexists(target := f"{path}.{kind}-{number}"):
            number += 1
        with contextlib.suppress(OSError):
            os.rename(path, target)
            self._report(path, reason, target)
            sync_dir(os.path.dirname(path))

"""Setting aside what stands in a record's place: renamed beside it, its bytes kept, never followed.

``<name>.invalid-<n>`` is no plain file (a directory, a link, a FIFO, a socket), and
``<name>.corrupt-<n>`` one that does not parse. Only a person removes them.
"""

import contextlib
import os
from collections.abc import Callable

from workers.records.files import open_regular, read_object, sync_dir
from workers.records.typed_errors import BadFileError, BadRecordError


class Quarantine:
    """Makes room for records. Only the supervisor makes one.

    Args:
        tell: called with what was in the way, why, and where it is now.
    """

    def __init__(self, tell: Callable[[str, str, str], None]) -> None:
        self._tell = tell

    def invalid(self, error: BadFileError) -> None:
        """Move away what is no plain file; where the disk refuses, whoever met it tries again."""
        self._move(str(error.facts["path"]), "invalid", str(error.facts["reason"]))

    def make_room(self, path: str, *, parses: bool = True) -> None:
        """Move away what cannot be the record that is going to be written or appended to.

        Args:
            path: the record; it may be missing.
            parses: it must be one JSON object too.
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
            return  # missing, or refused: whoever writes it will be told

    def _move(self, path: str, word: str, why: str) -> None:
        number = 1
        while os.path.lexists(target := f"{path}.{word}-{number}"):
            number += 1
        with contextlib.suppress(OSError):
            os.rename(path, target)
            self._tell(path, why, target)
            sync_dir(os.path.dirname(path))

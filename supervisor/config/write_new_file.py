"""Files that we write for people to go on with: new ones only, with the modes that they chose."""

import os

from workers.records.atomic import write_all
from workers.records.files import CREATE


def write_new(path: str, text: str) -> bool:
    """Write a file that is not there yet, and the missing directories above it.

    Args:
        path: the file. Unlike a record it gets the mode of the operator's umask.
        text: its content.

    Returns:
        False where something is there already: that is left as it is.

    Raises:
        OSError: it could not be written; nothing of it is left.
    """
    os.makedirs(os.path.dirname(path), exist_ok=True)
    try:
        fd = os.open(path, CREATE, 0o666)
    except FileExistsError:
        return False
    try:
        write_all(fd, text.encode())
    except OSError:
        os.unlink(path)
        raise
    finally:
        os.close(fd)
    return True

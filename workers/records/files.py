"""Opening and reading: never through a link, never a FIFO or a device, never without a bound.

Every record is opened with O_NOFOLLOW and O_NONBLOCK and must then prove to be a regular file on
the opened descriptor, so that a swap between check and use gains nothing.
"""

import errno
import fcntl
import json
import os
import re
import stat
from typing import Any, Final

from workers.records.dataclass import dataclass
from workers.records.limits import MARKER_LIMIT_BYTES, RECORD_LIMIT_BYTES
from workers.records.typed_errors import BadFileError, BadRecordError, TypedError

DIR_MODE: Final = 0o700
FILE_MODE: Final = 0o600
CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
"""The flags that make a new file and never open an old one."""
_PART_BYTES: Final = 65_536  # a buffer that malloc keeps; for more it would ask the kernel
_DEPTH_LIMIT: Final = 100  # the deepest record of ours has 10 levels
_NO_DIR_FLUSH: Final = (errno.EINVAL, errno.EBADF, errno.ENOSYS, errno.EOPNOTSUPP)
_SAFE: Final = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def open_regular(path: str, flags: int) -> int:
    """Open a regular file that is not reached through a link in its last part.

    Args:
        path: the file.
        flags: as for os.open; a created file has mode 0600.

    Returns:
        A descriptor that no child inherits.

    Raises:
        FileNotFoundError: nothing is there.
        BadFileError: something else is there: a link, a directory, a FIFO, a device.
        OSError: the system refused otherwise.
    """
    try:
        fd = os.open(path, flags | _SAFE, FILE_MODE)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise BadFileError(path=path, reason="is a symbolic link") from None
        if error.errno in (errno.EISDIR, errno.ENXIO):
            raise BadFileError(path=path, reason="is not a regular file") from None
        raise
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise BadFileError(path=path, reason="is not a regular file")
    return fd


def take_lock(fd: int) -> int | None:
    """Take an exclusive flock on an open file, for as long as the descriptor is open.

    Returns:
        The descriptor; None, and it is closed, where another process holds the lock.

    Raises:
        OSError: there are no locks there; it is closed.
    """
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    except OSError:
        os.close(fd)
        raise
    return fd


def read_from(fd: int, offset: int, size: int) -> bytes:
    """Read up to ``size`` bytes at ``offset``; fewer only at the file's end."""
    parts = []
    while size > 0:
        part = os.pread(fd, min(size, _PART_BYTES), offset)
        if not part:
            break
        parts.append(part)
        offset += len(part)
        size -= len(part)
    return b"".join(parts)


def read_bytes(
    path: str, limit_bytes: int = RECORD_LIMIT_BYTES, *, owner_uid: int | None = None
) -> bytes:
    """Read a whole record.

    Args:
        path: the file.
        limit_bytes: what is larger is refused unread.
        owner_uid: where given, the file must be this user's, and have no second name by which
            somebody else may still write it.

    Raises:
        FileNotFoundError: it is not there.
        BadFileError: it is no regular file, or not the owner's alone.
        BadRecordError: it is larger than ``limit_bytes``.
    """
    fd = open_regular(path, os.O_RDONLY)
    try:
        found = os.fstat(fd)
        if owner_uid is not None and found.st_uid != owner_uid:
            raise BadFileError(path=path, reason=f"belongs to another user (uid {found.st_uid})")
        if owner_uid is not None and found.st_nlink != 1:
            raise BadFileError(path=path, reason="is a hard link")
        large = found.st_size > limit_bytes
        data = b"" if large else read_from(fd, 0, limit_bytes + 1)
    finally:
        os.close(fd)
    if large or len(data) > limit_bytes:
        raise BadRecordError(path=path, reason=f"is larger than {limit_bytes} bytes")
    return data


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


_WRITER: Final = json.JSONEncoder(ensure_ascii=False)
# Halves of pairs that stand for no byte either (PEP 383): nothing can write them, or run them.
_NO_TEXT: Final = re.compile("[\ud800-\udc7f\udd00-\udfff]")
_DECODER: Final = json.JSONDecoder(parse_constant=_refuse_constant)


def parse_object(data: bytes, path: str) -> dict[str, Any]:
    """Parse one JSON object.

    Args:
        data: UTF-8 text.
        path: where it came from, for the error.

    Raises:
        BadRecordError: it is no JSON object (also: too deeply nested, a number of absurd length).
    """
    try:
        value = _DECODER.decode(data.decode())
    except (ValueError, RecursionError) as error:
        raise BadRecordError(path=path, reason=f"does not parse as JSON ({error})") from None
    if not isinstance(value, dict):
        raise BadRecordError(path=path, reason="is not a JSON object")
    if data.count(b"[") + data.count(b"{") > _DEPTH_LIMIT and _is_deep(value):
        raise BadRecordError(path=path, reason=f"is nested more than {_DEPTH_LIMIT} deep")
    if (b"\\ud" in data or b"\\uD" in data) and _NO_TEXT.search(_WRITER.encode(value)) is not None:
        raise BadRecordError(path=path, reason="holds half of a surrogate pair, which is no text")
    return value


def _is_deep(value: dict[str, Any]) -> bool:
    """Tell whether a value is nested deeper than anything of ours: who writes it would recurse."""
    level: list[Any] = [value]
    for _ in range(_DEPTH_LIMIT):
        inner = (item.values() if isinstance(item, dict) else item for item in level)
        level = [v for items in inner for v in items if isinstance(v, dict | list)]
        if not level:
            return False
    return True


def read_object(path: str, limit_bytes: int = RECORD_LIMIT_BYTES) -> dict[str, Any]:
    """Read a file that holds one JSON object; errors as read_bytes and parse_object."""
    return parse_object(read_bytes(path, limit_bytes), path)


def read_marker(path: str) -> str:
    """The task that an accepted run's marker names, "" where it is torn; errors as read_bytes."""
    text = read_bytes(path, MARKER_LIMIT_BYTES).decode("utf-8", "replace")
    return text[:-1] if text.endswith("\n") else ""


def is_dir(path: str) -> bool:
    """Tell whether a directory is there; OSError where the system does not say."""
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def make_dir(path: str) -> None:
    """Make a directory and the missing ones above it, each with mode 0700, and flush their names.

    Raises:
        BadFileError: something that is not a directory is in the way.
    """
    if os.path.isdir(path):
        return
    parent = os.path.dirname(path)
    make_dir(parent)
    try:
        os.mkdir(path, DIR_MODE)
    except FileExistsError:
        if not os.path.isdir(path):
            raise BadFileError(path=path, reason="is not a directory") from None
        return
    sync_dir(parent)


def make_private(*paths: str) -> None:
    """Make directories where they are missing, and see to it that they are ours alone.

    One that others may enter (of a git checkout, say) is brought to mode 0700.

    Args:
        paths: the directories, the upper before the lower: what is proven of one protects the next.

    Raises:
        BadFileError: one is a link or no directory, or belongs to another user.
    """
    for path in paths:
        make_dir(path)
        found = os.stat(path, follow_symlinks=False)
        if not stat.S_ISDIR(found.st_mode):
            raise BadFileError(path=path, reason="is a symbolic link")
        if found.st_uid != os.geteuid():
            raise BadFileError(path=path, reason=f"belongs to another user (uid {found.st_uid})")
        if stat.S_IMODE(found.st_mode) != DIR_MODE:
            os.chmod(path, DIR_MODE)


def sync_dir(path: str) -> bool:
    """Flush a directory, so that names made or renamed in it survive a loss of power.

    Returns:
        False where this file system cannot flush directories: tolerated, since it never will, and
        told by the supervisor at its start.

    Raises:
        OSError: the disk refused.
    """
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno in _NO_DIR_FLUSH:
            return False
        raise
    finally:
        os.close(fd)
    return True


def sync_file(path: str) -> None:
    """Flush a file that somebody else wrote; nothing is written where it is flushed already.

    Raises:
        BadFileError: it is no regular file.
        OSError: the disk refused.
    """
    fd = open_regular(path, os.O_RDONLY)
    try:
        os.fdatasync(fd)
    finally:
        os.close(fd)


@dataclass(frozen=True, slots=True)
class ClaimFile:
    """A file of ours that somebody may take away: its name, and which file it is."""

    path: str
    device: int
    inode: int

    @staticmethod
    def of(path: str, fd: int) -> "ClaimFile":
        """The file that is open as ``fd``."""
        found = os.fstat(fd)
        return ClaimFile(path, found.st_dev, found.st_ino)

    def is_gone(self) -> bool:
        """Tell whether the name does not lead to it any more.

        It is opened, not only looked at: a shared folder asks its server then.
        """
        try:
            fd = open_regular(self.path, os.O_RDONLY)
        except (FileNotFoundError, NotADirectoryError):
            return True
        except (OSError, TypedError):
            return False  # the folder does not say; it does not say that it is gone either
        try:
            found = os.fstat(fd)
        finally:
            os.close(fd)
        return (found.st_dev, found.st_ino) != (self.device, self.inode)

"""Opening, reading and flushing files: no symbolic links, FIFOs or devices, always a size limit.

Every record is opened with O_NOFOLLOW and O_NONBLOCK, and the opened descriptor must be a regular
file, so a swap between check and use gains nothing.
"""

import errno
import json
import os
import re
import stat
from typing import Any, Final

from workers.records.limits import MARKER_LIMIT_BYTES, RECORD_LIMIT_BYTES
from workers.records.typed_errors import BadFileError, BadRecordError

DIR_MODE: Final = 0o700
FILE_MODE: Final = 0o600
CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
"""Flags that create a new file and never open an existing one."""
_PART_BYTES: Final = 65_536  # malloc keeps a buffer of this size; it returns larger ones
_DEPTH_LIMIT: Final = 100  # our deepest record has 10 levels
_NO_DIR_FLUSH: Final = (errno.EINVAL, errno.EBADF, errno.ENOSYS, errno.EOPNOTSUPP)
_SAFE: Final = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def open_regular(path: str, flags: int) -> int:
    """Open a regular file; the last part of its path must not be a symbolic link.

    Args:
        path: the file.
        flags: as for os.open; a new file has mode 0600.

    Returns:
        A descriptor that children do not inherit.

    Raises:
        FileNotFoundError: it does not exist.
        BadFileError: it is a link, a directory, a FIFO or a device.
        OSError: any other refusal.
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


def read_from(fd: int, offset: int, size: int) -> bytes:
    """Read up to ``size`` bytes at ``offset``; fewer only at the end of the file."""
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
        limit_bytes: a larger file is refused unread.
        owner_uid: if given, the file must belong to this user and have no second name by which
            another user could still write it.

    Raises:
        FileNotFoundError: it does not exist.
        BadFileError: it is not a regular file, or not the owner's alone.
        BadRecordError: it is larger than ``limit_bytes``.
    """
    fd = open_regular(path, os.O_RDONLY)
    try:
        status = os.fstat(fd)
        if owner_uid is not None and status.st_uid != owner_uid:
            raise BadFileError(path=path, reason=f"belongs to another user (uid {status.st_uid})")
        if owner_uid is not None and status.st_nlink != 1:
            raise BadFileError(path=path, reason="is a hard link")
        is_large = status.st_size > limit_bytes
        data = b"" if is_large else read_from(fd, 0, limit_bytes + 1)
    finally:
        os.close(fd)
    if is_large or len(data) > limit_bytes:
        raise BadRecordError(path=path, reason=f"is larger than {limit_bytes} bytes")
    return data


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


_ENCODER: Final = json.JSONEncoder(ensure_ascii=False)
# Lone surrogates that stand for no byte either (PEP 383): they can neither be written nor executed.
_NO_TEXT: Final = re.compile("[\ud800-\udc7f\udd00-\udfff]")
_DECODER: Final = json.JSONDecoder(parse_constant=_refuse_constant)


def parse_object(data: bytes, path: str) -> dict[str, Any]:
    """Parse one JSON object.

    Args:
        data: UTF-8 text.
        path: the file that it came from, for the error.

    Raises:
        BadRecordError: it is not a JSON object, is nested too deeply, or has a number with too many
            digits.
    """
    try:
        value = _DECODER.decode(data.decode())
    except (ValueError, RecursionError) as error:
        raise BadRecordError(path=path, reason=f"does not parse as JSON ({error})") from None
    if not isinstance(value, dict):
        raise BadRecordError(path=path, reason="is not a JSON object")
    if data.count(b"[") + data.count(b"{") > _DEPTH_LIMIT and _is_deep(value):
        raise BadRecordError(path=path, reason=f"is nested more than {_DEPTH_LIMIT} deep")
    if (b"\\ud" in data or b"\\uD" in data) and _NO_TEXT.search(_ENCODER.encode(value)) is not None:
        raise BadRecordError(path=path, reason="holds half of a surrogate pair, which is no text")
    return value


def _is_deep(value: dict[str, Any]) -> bool:
    """Whether a value is nested more than _DEPTH_LIMIT deep: writing it could exceed the stack."""
    level: list[Any] = [value]
    for _ in range(_DEPTH_LIMIT):
        inner = (item.values() if isinstance(item, dict) else item for item in level)
        level = [v for items in inner for v in items if isinstance(v, dict | list)]
        if not level:
            return False
    return True


def read_object(path: str, limit_bytes: int = RECORD_LIMIT_BYTES) -> dict[str, Any]:
    """Read a file that contains one JSON object; raises as read_bytes and parse_object."""
    return parse_object(read_bytes(path, limit_bytes), path)


def read_marker(path: str) -> str:
    """The task in an accepted run's marker, "" if the marker is torn; raises as read_bytes."""
    text = read_bytes(path, MARKER_LIMIT_BYTES).decode("utf-8", "replace")
    return text[:-1] if text.endswith("\n") else ""


def is_dir(path: str) -> bool:
    """Whether a directory exists; raises OSError if that cannot be determined."""
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def make_dir(path: str) -> None:
    """Create a directory and missing parents, each with mode 0700, and flush their names.

    Raises:
        BadFileError: something that is not a directory is in its place.
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
    """Create directories if they are missing, and make sure that only this user can enter them.

    One that others may enter (from a git checkout, for example) gets mode 0700.

    Args:
        paths: the directories, outer before inner: a checked one protects those inside.

    Raises:
        BadFileError: one is a link or no directory, or belongs to another user.
    """
    for path in paths:
        make_dir(path)
        status = os.stat(path, follow_symlinks=False)
        if not stat.S_ISDIR(status.st_mode):
            raise BadFileError(path=path, reason="is a symbolic link")
        if status.st_uid != os.geteuid():
            raise BadFileError(path=path, reason=f"belongs to another user (uid {status.st_uid})")
        if stat.S_IMODE(status.st_mode) != DIR_MODE:
            os.chmod(path, DIR_MODE)


def sync_dir(path: str) -> bool:
    """Flush a directory, so that created or renamed names survive a power failure.

    Returns:
        False if this file system cannot flush directories. That is tolerated, and the supervisor
        reports it when it starts.

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
    """Flush a file that another process wrote; costs nothing if it is flushed already.

    Raises:
        BadFileError: it is not a regular file.
        OSError: the disk refused.
    """
    fd = open_regular(path, os.O_RDONLY)
    try:
        os.fdatasync(fd)
    finally:
        os.close(fd)

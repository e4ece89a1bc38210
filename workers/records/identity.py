"""Identity of processes and roots. A bare pid proves nothing, and neither does a path.

A process is identified by host, boot id, pid and start ticks (field 22 of /proc/PID/stat, clock
ticks since boot); only within one tick (10 ms) could a pid be reused unnoticed.

A root is identified by device and inode of its ``.runs`` directory. Within one boot no copy can
have the same: ``cp``, ``rsync`` and a restored backup have another inode, a mounted snapshot has
another device. A rename within the file system keeps them.
"""

import functools
import os
import signal
from typing import Any, Final

from workers.records.dataclass import dataclass
from workers.records.json_reader import JsonReader, to_plain
from workers.records.limits import PID_LIMIT
from workers.records.proc import is_running, proc_stat, read_small

NO_BOOT_ID: Final = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """One process, distinct from every other of any host and boot."""

    host: str
    boot_id: str
    pid: int
    start_ticks: int

    def to_json(self) -> dict[str, Any]:
        """As in records."""
        return dict(to_plain(self))

    @staticmethod
    def from_fields(read: JsonReader) -> "Identity":
        """Read what to_json wrote; raises BadRecordError."""
        return Identity(
            host=read.text("host"),
            boot_id=read.text("boot_id"),
            pid=read.integer("pid", 0, PID_LIMIT),
            start_ticks=read.integer("start_ticks"),
        )


def root_id(runs: str) -> str:
    """Identity of a root on this host and boot, in stages as ``SUPERVISED_ROOT_ID``.

    Args:
        runs: the root's ``.runs`` directory.

    Raises:
        OSError: it is gone or cannot be read.
    """
    status = os.stat(runs, follow_symlinks=False)
    return root_id_of(status.st_dev, status.st_ino)


def root_id_of(device: int, inode: int) -> str:
    """Identity of the root whose ``.runs`` directory has this device and inode."""
    return f"{device:x}-{inode:x}"


@functools.lru_cache(maxsize=1)
def boot_id() -> str:
    """This boot's random id; NO_BOOT_ID if this process may not read it.

    A /proc with ``subset=pid`` (systemd's ``ProcSubset=pid``) shows processes only.
    """
    try:
        return read_small("/proc/sys/kernel/random/boot_id").decode().strip()
    except OSError:
        return NO_BOOT_ID


def host_name() -> str:
    """This machine's name."""
    return os.uname().nodename


def pid_namespace() -> int | None:
    """Inode of the namespace of this process's pids; None if unknown.

    Unique within one kernel only: two hosts may have the same number, but no boot id in common.
    """
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return None


def identity_of(pid: int) -> Identity | None:
    """The identity of a process of this host; None if there is none."""
    stat = proc_stat(pid)
    if stat is None:
        return None
    return Identity(host=host_name(), boot_id=boot_id(), pid=pid, start_ticks=stat.start_ticks)


def is_of_this_boot(identity: Identity) -> bool:
    """Whether a process is or was one of this machine since it booted.

    Compares boot ids, since a host's name may change; the name counts if the id is unknown.
    """
    if identity.boot_id != boot_id():
        return False
    return identity.boot_id != NO_BOOT_ID or identity.host == host_name()


def is_alive(identity: Identity) -> bool:
    """Whether this very process exists on this host and has not ended.

    It may be process 1 of a container, which is never signalled.
    """
    if identity.pid < 1 or identity.host != host_name() or identity.boot_id != boot_id():
        return False
    return is_running(identity.pid, identity.start_ticks)


def open_pidfd(pid: int, start_ticks: int) -> int | None:
    """Open a pidfd of the process that started at ``start_ticks``; None if it is gone."""
    if pid <= 1:
        return None
    try:
        fd = os.pidfd_open(pid)
    except (ProcessLookupError, PermissionError):
        return None
    stat = proc_stat(pid)
    if stat is None or stat.start_ticks != start_ticks:
        os.close(fd)
        return None
    return fd


def send_signal(pid: int, start_ticks: int, number: int) -> bool:
    """Signal the process that started at ``start_ticks``; False if it is gone."""
    fd = open_pidfd(pid, start_ticks)
    if fd is None:
        return False
    try:
        signal.pidfd_send_signal(fd, number)
    except (ProcessLookupError, PermissionError):
        return False
    else:
        return True
    finally:
        os.close(fd)


def signal_name(number: int) -> str:
    """``SIGTERM``; ``SIG35`` for a signal without a name, like most real-time signals."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIG{number}"

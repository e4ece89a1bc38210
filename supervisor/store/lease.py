"""The lease: one supervisor per root, for as long as its process lives.

The lease is a flock on ``lease.lock``; ``lease.json`` names the holder and is only a hint. A lock
on a deleted file excludes nobody, so the holder checks at every turn whether the name still leads
to its file; if only the file was deleted, the holder takes the lock again. If no supervisor serves
the root, ``supervisor run`` takes the lock and passes the locked descriptor to the temporary
supervisor that it starts; so of fifty that are called at once exactly one starts it.

A ``supervisor start`` replaces a temporary supervisor: it locks ``lease.next``, which keeps waiting
``run``s from starting another, asks the temporary one to exit without ending its runs, and takes
the lock when it is free.
"""

import contextlib
import os
import time
from dataclasses import dataclass
from typing import Final

from supervisor.errors import LeaseHeldError, RootGoneError
from supervisor.store.lease_reader import lease_holder, read_lease
from supervisor.store.quarantine import Quarantine
from supervisor.version import VERSION
from workers.records.atomic import replace_file, to_bytes
from workers.records.files import make_private
from workers.records.flock import prove_locking, take_flock
from workers.records.identity import Identity, identity_of, root_id_of
from workers.records.layout import Layout
from workers.records.request import Request, RequestKind, now_text, publish

_TRIES_COUNT: Final = 5
_TRY_S: Final = 0.02
HANDOVER_S: Final = 30.0  # a temporary supervisor exits within a turn, or after a hook's 5 s


@dataclass(slots=True)
class Lease:
    """The lease while we hold it.

    Attributes:
        layout: the root.
        fd: the locked descriptor.
        identity: this process.
        runs_at: device and inode of ``.runs`` when the lease was taken.
        is_temporary: a waiting ``supervisor run`` started us; a ``supervisor start`` replaces us.
    """

    layout: Layout
    fd: int
    identity: Identity
    runs_at: tuple[int, int]
    is_temporary: bool = False

    @property
    def root_id(self) -> str:
        """Identity of the root, as in the environment of its stages."""
        return root_id_of(*self.runs_at)

    def keep(self) -> bool:
        """Check the lease, and take it again if only its file was deleted.

        Returns:
            False if it was taken again: the supervisor's directory may have been deleted, too.

        Raises:
            RootGoneError: ``.runs`` was deleted, renamed or replaced: nothing can be recorded.
            LeaseHeldError: another supervisor serves the root now.
        """
        try:
            if _inode(self.layout.lease_lock) == _inode(self.fd):
                return True
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError:
            return True  # unknown: no proof that the lease is lost
        try:
            if _inode(self.layout.runs) != self.runs_at:
                raise RootGoneError(path=self.layout.runs)
            make_private(self.layout.control)
            fd = take_flock(self.layout.lease_lock)
        except FileNotFoundError:
            raise RootGoneError(path=self.layout.runs) from None
        if fd is None:
            raise _held_error(self.layout)
        os.close(self.fd)
        self.fd = fd
        _write_record(self.layout, self.identity, "supervisor start", temporary=self.is_temporary)
        return False

    def release(self) -> None:
        """Release the lease; call once, last."""
        with contextlib.suppress(OSError):
            if _inode(self.layout.lease_lock) == _inode(self.fd):
                os.unlink(self.layout.lease)
        os.close(self.fd)


def _inode(place: str | int) -> tuple[int, int]:
    """Device and inode."""
    status = os.stat(place, follow_symlinks=isinstance(place, int))
    return status.st_dev, status.st_ino


def take_lease(
    layout: Layout, *, command: str, quarantine: Quarantine, inherited_fd: int | None = None
) -> Lease:
    """Become the supervisor of this root.

    Args:
        layout: the root.
        command: what the operator typed, for the record.
        quarantine: moves a foreign file out of the place of ``lease.json``.
        inherited_fd: the locked descriptor, if the parent process took the lock for us.

    Raises:
        LeaseHeldError: another supervisor serves this root.
        BadFileError: ``.runs/`` is not ours.
        LockingBrokenError: flock does not exclude on this file system.
    """
    make_private(layout.runs, layout.control)
    prove_locking(layout.control)
    fd = inherited_fd
    if fd is None:
        fd = _take(layout)
    if fd is None:
        fd = _take_over(layout)
    if fd is None:
        raise _held_error(layout)
    os.set_inheritable(fd, False)
    identity = identity_of(os.getpid())
    if identity is None:
        raise RuntimeError("this process is missing from /proc")
    quarantine.make_room(layout.lease, parses=False)
    _write_record(layout, identity, command, temporary=inherited_fd is not None)
    return Lease(layout, fd, identity, _inode(layout.runs), is_temporary=inherited_fd is not None)


def _take_over(layout: Layout) -> int | None:
    """Replace a temporary supervisor; None if the holder is another one, or does not exit."""
    next_fd = take_flock(layout.lease_next)
    if next_fd is None:
        return None
    try:
        notified: Identity | None = None
        deadline_mono_s = time.monotonic() + HANDOVER_S
        while (fd := take_flock(layout.lease_lock)) is None:
            holder, is_temporary = lease_holder(layout)
            if holder is not None and not is_temporary:
                return None
            if holder is not None and holder != notified:
                publish(
                    layout,
                    Request(kind=RequestKind.STOP, supervisor=holder, leave_running=True),
                )
                notified = holder
            if time.monotonic() >= deadline_mono_s:
                return None
            time.sleep(_TRY_S)
        return fd
    finally:
        os.close(next_fd)


def _held_error(layout: Layout) -> LeaseHeldError:
    holder = read_lease(layout)
    identity = holder.get("identity")
    return LeaseHeldError(
        root=layout.root,
        pid=identity.get("pid", "unknown") if isinstance(identity, dict) else "unknown",
        since=holder.get("since", "an unknown time"),
    )


def _write_record(
    layout: Layout, identity: Identity, command: str, *, temporary: bool = False
) -> None:
    record = {
        "schema": "pipeline-supervisor/lease/1",
        "identity": identity.to_json(),
        "command": command,
        "temporary": temporary,
        "since": now_text(),
        "version": VERSION,
    }
    replace_file(layout.lease, to_bytes(record), flush=False)


def _take(layout: Layout) -> int | None:
    """Take the lock; a reader that checks whether it is held has it for microseconds."""
    for _ in range(_TRIES_COUNT):
        fd = take_flock(layout.lease_lock)
        if fd is not None:
            return fd
        time.sleep(_TRY_S)
    return None

"""The lease: one supervisor per root, for as long as its process lives.

The claim is a flock on ``lease.lock``; ``lease.json`` says who holds it and is only a hint. A
``supervisor run`` that finds nobody serving takes the lock and hands the locked descriptor to the
supervisor that it starts, so that of fifty at once exactly one does.
"""

import contextlib
import os
import time
from dataclasses import dataclass
from typing import Any, Final

from supervisor.edge.flock import is_flocked, prove_locking, take_flock
from supervisor.errors import LeaseHeldError
from supervisor.version import VERSION
from workers.records.atomic import replace_file, to_bytes
from workers.records.errors import TypedError
from workers.records.fields import Fields
from workers.records.files import make_private, read_object
from workers.records.identity import Identity, identity_of
from workers.records.layout import Layout
from workers.records.request import now_text

_TRIES_COUNT: Final = 5
_TRY_S: Final = 0.02


@dataclass(frozen=True, slots=True)
class Lease:
    """The held claim. ``fd`` holds it; ``identity`` is the process that serves."""

    fd: int
    identity: Identity

    def release(self, layout: Layout) -> None:
        """Give the claim back. Call once, as the last thing."""
        with contextlib.suppress(OSError):
            os.unlink(layout.lease)
        os.close(self.fd)


def take_lease(layout: Layout, *, command: str, inherited_fd: int | None = None) -> Lease:
    """Become the supervisor of this root.

    Args:
        layout: the root.
        command: what the operator typed, for whoever meets the lease.
        inherited_fd: the locked descriptor, where a parent took the lock for us.

    Raises:
        LeaseHeldError: another supervisor serves this root; it is named.
        BadFileError: ``.runs/`` is not ours.
        LockingBrokenError: flock does not exclude on this file system.
    """
    make_private(layout.runs, layout.control)
    prove_locking(layout.control)
    fd = _take(layout) if inherited_fd is None else inherited_fd
    if fd is None:
        holder = read_lease(layout)
        raise LeaseHeldError(
            root=layout.root,
            pid=holder.get("identity", {}).get("pid", "unknown"),
            since=holder.get("since", "an unknown time"),
        )
    os.set_inheritable(fd, False)
    identity = identity_of(os.getpid())
    if identity is None:
        raise RuntimeError("this process is missing from /proc")
    record = {
        "schema": "pipeline-supervisor/lease/1",
        "identity": identity.to_json(),
        "command": command,
        "since": now_text(),
        "version": VERSION,
    }
    replace_file(layout.lease, to_bytes(record), flush=False)
    return Lease(fd, identity)


def _take(layout: Layout) -> int | None:
    """Take the lock; a reader that looks whether it is held disturbs us for microseconds."""
    for _ in range(_TRIES_COUNT):
        fd = take_flock(layout.lease_lock)
        if fd is not None:
            return fd
        time.sleep(_TRY_S)
    return None


def read_lease(layout: Layout) -> dict[str, Any]:
    """Who says that he holds the lease; empty where nothing readable is there."""
    try:
        return read_object(layout.lease)
    except (OSError, TypedError):
        return {}


def serving(layout: Layout) -> Identity | None:
    """The supervisor that serves this root now, or None."""
    if not is_flocked(layout.lease_lock):
        return None
    data = read_lease(layout)
    try:
        return Identity.from_fields(Fields(data, layout.lease).child("identity"))
    except TypedError:
        return None

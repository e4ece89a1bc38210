"""Claims of placed runs: which process has begun a run, on which host, and whether it lives.

What an engine reports about a run is never trusted. On another host, heartbeats and the keeper's
claim are the witnesses; on ours, the owner lock and the process are, as for a local worker.
"""

import contextlib
import os

from supervisor.daemon.local_launcher import watched
from supervisor.daemon.run_handle import RunHandle
from supervisor.launchers.placement_record import Placement
from supervisor.store.log import Log
from workers.records.claim import WorkerEnd
from workers.records.flock import is_flocked
from workers.records.identity import Identity, is_alive, pid_namespace
from workers.records.typed_errors import TypedError


def claim_owner(handle: RunHandle, placement: Placement) -> Identity | None:
    """The process that has begun a run: as its claim says, else as its journal says."""
    claim = placement.claim
    return (None if claim is None else claim.holder) or handle.reader.worker


def host_of(handle: RunHandle, placement: Placement) -> str:
    """The host on which a run was begun, for messages and records."""
    owner = claim_owner(handle, placement)
    return "unknown" if owner is None else owner.host


def is_local(handle: RunHandle, placement: Placement, mine: Identity) -> bool:
    """Tell whether a run was begun on our host, since it booted, in our pid namespace."""
    owner, claim = claim_owner(handle, placement), placement.claim
    if claim is not None and claim.pid_ns is not None and claim.pid_ns != pid_namespace():
        return False  # a container of this machine, whatever its host name
    return owner is not None and (owner.host, owner.boot_id) == (mine.host, mine.boot_id)


def end_reason(handle: RunHandle, placement: Placement, mine: Identity, log: Log) -> str | None:
    """How a run's worker ended; None if nothing shows that it has ended."""
    claim = placement.claim
    if claim is not None and claim.ended is not None:
        return _exit_reason(claim.ended, claim_owner(handle, placement))
    if is_local(handle, placement, mine) and not _lives_here(handle, placement, log):
        return "its worker is gone"
    return None


def watch_keeper(handle: RunHandle, placement: Placement, mine: Identity) -> None:
    """Watch the keeper of a run that its caller hosts, so that its exit is noticed at once."""
    claim = placement.claim
    keeper = None if claim is None or claim.ended is not None else claim.holder
    if handle.worker is None and keeper is not None and is_local(handle, placement, mine):
        handle.worker = watched(keeper)


def refresh_size(path: str) -> None:
    """Open a file once: a shared folder's client asks its server for the size at an open."""
    with contextlib.suppress(OSError):
        os.close(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC))


def _lives_here(handle: RunHandle, placement: Placement, log: Log) -> bool:
    """Tell whether a run's keeper or worker is alive on our host."""
    reader, claim = handle.reader, placement.claim
    keeper = None if claim is None else claim.holder
    if keeper is not None and is_alive(keeper):
        return True
    try:
        if is_flocked(reader.run.owner):
            return True
    except (OSError, TypedError) as error:  # only the process can be checked
        log.write("owner_unreadable", run_id=handle.run_id, why=str(error))
    return reader.worker is not None and is_alive(reader.worker)


def _exit_reason(end: WorkerEnd, keeper: Identity | None) -> str:
    host = "" if keeper is None else f" on {keeper.host}"
    if end.signal is not None:
        hint = " (out of memory?)" if end.signal == "SIGKILL" else ""
        return f"its worker was killed by {end.signal}{host}{hint}"
    return f"its worker exited with {end.exit_code}{host} and without a verdict"

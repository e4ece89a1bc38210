"""Attempts that an engine or a run's caller starts, instead of the supervisor.

``placement.json`` is on disk before an engine gets an attempt, so a start after a crash knows that
the attempt may begin at any time. The claim next to it shows whether it has, and in which process.
"""

import contextlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from workers.records.claim import SUPERVISOR, Claim, read_claim, take_claim
from workers.records.clock import Clock
from workers.records.files import sync_dir
from workers.records.layout import RunDir
from workers.records.placement import PlacedAttempt, read_placement, store_placement
from workers.records.spec import RunSpec
from workers.records.typed_errors import TypedError

_CLAIM: Final = re.compile(r"\.claim\.(\d+)(?:\.revoked)?")
_INCOMPLETE: Final = re.compile(r"\.\.claim\.\d+\..*\.tmp")


class ClaimState(StrEnum):
    """What has become of an attempt."""

    UNCLAIMED = "unclaimed"
    CLAIMED = "claimed"
    WITHDRAWN = "withdrawn"
    REVOKED = "revoked"


@dataclass(slots=True, kw_only=True)
class Placement:
    """An attempt that an engine was asked to place.

    Attributes:
        run: the run's files.
        attempt: number of the attempt, from 1.
        root_id: identity of the root, so that a copy of it places and cancels under other names.
        launcher: the engine, "" if its record cannot be read.
        resources: what it takes of a host.
        claim: the claim as it was last read.
        state: what has become of the attempt, as far as we have seen.
        owed: the attempt must be withdrawn and the disk has refused that so far: the reason, and
            whether another attempt may help.
    """

    run: RunDir
    attempt: int
    root_id: str
    launcher: str
    resources: Mapping[str, float] = field(default_factory=dict)
    claim: Claim | None = None
    state: ClaimState = ClaimState.UNCLAIMED
    owed: tuple[str, bool] | None = None

    @property
    def key(self) -> str:
        """The name of the attempt for engines: RUN_ID.ATTEMPT.ROOT.

        ROOT is the inode of ``.runs``: the device's number may be another on another host.
        """
        return f"{self.run.run_id}.{self.attempt}.{self.root_id.rpartition('-')[2]}"

    def store(self) -> None:
        """Write the record; OSError or BadFileError if that is refused."""
        placed = PlacedAttempt(
            attempt=self.attempt, launcher=self.launcher, resources=self.resources
        )
        store_placement(self.run.placement, placed)

    def poll(self) -> Claim | None:
        """Read the claim; if it cannot be read now, return it as it was last read."""
        if self.state in (ClaimState.UNCLAIMED, ClaimState.CLAIMED):
            with contextlib.suppress(OSError, TypedError):
                claim = read_claim(self.run.claim(self.attempt))
                if claim is not None:
                    self.claim = claim
                    is_ours = claim.by == SUPERVISOR
                    self.state = ClaimState.WITHDRAWN if is_ours else ClaimState.CLAIMED
        return self.claim

    def withdraw(self, clock: Clock) -> bool:
        """Make sure that no host begins the attempt, by claiming it ourselves.

        Returns:
            False if a host has claimed it.

        Raises:
            OSError: the disk refuses; a host may still begin it.
        """
        if self.state is ClaimState.UNCLAIMED:
            fd = take_claim(self.run, self.attempt, by=SUPERVISOR, at_epoch_s=clock.epoch_s())
            if fd is not None:
                os.close(fd)
                self.state = ClaimState.WITHDRAWN
            else:
                self.state = ClaimState.CLAIMED  # a folder may show the claim later than it counts
                self.poll()
        return self.state is ClaimState.WITHDRAWN

    def revoke(self, clock: Clock) -> None:
        """Make sure that no worker writes for the run any more; OSError if the disk refuses."""
        if not self.withdraw(clock) and self.state is ClaimState.CLAIMED:
            with contextlib.suppress(FileNotFoundError):
                os.rename(self.run.claim(self.attempt), self.run.revoked_claim(self.attempt))
                sync_dir(self.run.path)
            self.state = ClaimState.REVOKED

    def sweep(self) -> None:
        """Remove incomplete claims of dead writers; call when the run can no longer be claimed."""
        with contextlib.suppress(OSError):
            for name in os.listdir(self.run.path):
                if _INCOMPLETE.fullmatch(name):
                    os.unlink(os.path.join(self.run.path, name))


def load_placement(run: RunDir, root_id: str = "") -> Placement | None:
    """The newest attempt of a run that was placed; None if there is none.

    If its record is damaged, the claims show which attempts there were.

    Args:
        run: the run's files.
        root_id: identity of the root; readers, who do not place, need none.
    """
    try:
        placed = read_placement(run.placement)
        placement = Placement(
            run=run,
            attempt=placed.attempt,
            root_id=root_id,
            launcher=placed.launcher,
            resources=placed.resources,
        )
    except (FileNotFoundError, NotADirectoryError):
        return None
    except TypedError:
        names = map(_CLAIM.fullmatch, os.listdir(run.path))
        attempt = max((int(name[1]) for name in names if name is not None), default=1)
        placement = Placement(run=run, attempt=attempt, root_id=root_id, launcher="")
    placement.poll()
    if placement.claim is None:
        placement.claim = read_claim(run.revoked_claim(placement.attempt))
        if placement.claim is not None:
            placement.state = ClaimState.REVOKED
    return placement


def resources_of(spec: RunSpec) -> dict[str, float]:
    """What a run takes of a host: as its pipeline says, else one slot.

    A sub-pipeline's run takes nothing, since its parent waits for it in a slot of its own.
    """
    if spec.parent_run_id is not None:
        return {}
    return dict(spec.pipeline.resources or {"slot": 1.0})


def may_have_worker(run: RunDir) -> bool:
    """Tell whether an unrecorded run may have a worker on some host, or get one.

    For readers, of a run whose ``.owner`` is not locked on this host.
    """
    with contextlib.suppress(OSError, TypedError):
        placement = load_placement(run)
        if placement is not None:
            has_ended = placement.claim is not None and placement.claim.ended is not None
            return not has_ended and placement.state in (ClaimState.UNCLAIMED, ClaimState.CLAIMED)
    return False

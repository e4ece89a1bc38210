"""Attempts that something other than the supervisor starts: an engine, or a run's caller.

``placement.json`` is on disk before an engine hears of an attempt, so a start after a crash knows
that it may begin at any time. The claim next to it tells whether it has, and whose it is.
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

_HALF: Final = re.compile(r"\.\.claim\.\d+\..*\.tmp")


class ClaimState(StrEnum):
    """What has become of an attempt."""

    UNCLAIMED = "unclaimed"
    CLAIMED = "claimed"
    TAKEN_BACK = "taken-back"
    REVOKED = "revoked"


@dataclass(slots=True, kw_only=True)
class Placement:
    """An attempt that an engine was asked to place.

    Attributes:
        run: the run's files.
        attempt: which attempt, from 1.
        launcher: the engine, "" where that cannot be read any more.
        resources: what it takes of a host.
        claim: who has begun it, as it was read last.
        stand: what has become of it, as far as we have seen.
        owed: why it is to be taken back, where the disk has refused that so far; and whether trying
            again may help.
    """

    run: RunDir
    attempt: int
    launcher: str
    resources: Mapping[str, float] = field(default_factory=dict)
    claim: Claim | None = None
    stand: ClaimState = ClaimState.UNCLAIMED
    owed: tuple[str, bool] | None = None

    @property
    def key(self) -> str:
        """As engines know the attempt."""
        return f"{self.run.run_id}.{self.attempt}"

    def store(self) -> None:
        """Put it on disk; OSError or BadFileError where that is refused."""
        placed = PlacedAttempt(
            attempt=self.attempt, launcher=self.launcher, resources=self.resources
        )
        store_placement(self.run.placement, placed)

    def look(self) -> Claim | None:
        """Read the claim; what cannot be read now is read at the next look."""
        if self.stand in (ClaimState.UNCLAIMED, ClaimState.CLAIMED):
            with contextlib.suppress(OSError, TypedError):
                found = read_claim(self.run.claim(self.attempt))
                if found is not None:
                    self.claim = found
                    self.stand = (
                        ClaimState.TAKEN_BACK if found.by == SUPERVISOR else ClaimState.CLAIMED
                    )
        return self.claim

    def take_back(self, clock: Clock) -> bool:
        """See to it that nobody begins the attempt any more.

        Returns:
            False where somebody has begun it.

        Raises:
            OSError: the disk refuses; somebody may begin it yet.
        """
        if self.stand is ClaimState.UNCLAIMED:
            fd = take_claim(self.run, self.attempt, by=SUPERVISOR, at_epoch_s=clock.epoch_s())
            if fd is not None:
                os.close(fd)
                self.stand = ClaimState.TAKEN_BACK
            else:
                self.stand = ClaimState.CLAIMED  # a folder may show the claim later than it counts
                self.look()
        return self.stand is ClaimState.TAKEN_BACK

    def sweep(self) -> None:
        """Remove the claims that somebody died writing; nobody may claim the run any more."""
        with contextlib.suppress(OSError):
            for name in os.listdir(self.run.path):
                if _HALF.fullmatch(name):
                    os.unlink(os.path.join(self.run.path, name))

    def silence(self, clock: Clock) -> None:
        """See to it that no worker speaks for the run any more. OSError where the disk refuses."""
        if not self.take_back(clock) and self.stand is ClaimState.CLAIMED:
            with contextlib.suppress(FileNotFoundError):
                os.rename(self.run.claim(self.attempt), self.run.revoked_claim(self.attempt))
                sync_dir(self.run.path)
            self.stand = ClaimState.REVOKED


def load_placement(run: RunDir) -> Placement | None:
    """The newest attempt of a run that an engine was asked for, None where there is none.

    Where its record is damaged, the claims tell which attempts there were.
    """
    try:
        placed = read_placement(run.placement)
        placement = Placement(
            run=run,
            attempt=placed.attempt,
            launcher=placed.launcher,
            resources=placed.resources,
        )
    except (FileNotFoundError, NotADirectoryError):
        return None
    except TypedError:
        placement = Placement(run=run, attempt=_last_attempt(run), launcher="")
    placement.look()
    if placement.claim is None:
        placement.claim = read_claim(run.revoked_claim(placement.attempt))
        if placement.claim is not None:
            placement.stand = ClaimState.REVOKED
    return placement


def resources_of(spec: RunSpec) -> dict[str, float]:
    """What a run takes of a host: what its pipeline says, else a slot.

    A sub-pipeline's run takes nothing, since its parent waits for it on a slot of its own.
    """
    if spec.parent_run_id is not None:
        return {}
    return dict(spec.pipeline.resources or {"slot": 1.0})


def _last_attempt(run: RunDir) -> int:
    names = map(_CLAIM.fullmatch, os.listdir(run.path))
    return max((int(name[1]) for name in names if name is not None), default=1)


def may_be_at_work(run: RunDir) -> bool:
    """Tell whether a run that is not on record may have a worker somewhere, or get one.

    For readers, of a run whose ``.owner`` nobody holds here.
    """
    with contextlib.suppress(OSError, TypedError):
        placement = load_placement(run)
        if placement is not None:
            ended = placement.claim is not None and placement.claim.ended is not None
            return placement.stand in (ClaimState.UNCLAIMED, ClaimState.CLAIMED) and not ended
    return False

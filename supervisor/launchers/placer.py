"""The interface of what runs are placed with: an engine's agent, or the callers of runs."""

from typing import Protocol

from supervisor.launchers.agents.protocol import Answer, Cancel, Place
from supervisor.launchers.placement_record import Placement
from workers.processes.tree import Process


def order_of(placement: Placement) -> Place:
    """How an agent is asked for an attempt."""
    return Place(
        key=placement.key,
        run_dir=placement.run.path,
        attempt=placement.attempt,
        resources=placement.resources,
    )


class Placer(Protocol):
    """Places attempts. No method blocks; what comes of them is heard later, or read in the claim.

    Attributes:
        takes_resources: an attempt takes resources of the host on which it is placed.
        watches_keepers: the keeper of a run on our host is watched, to see its end at once.
    """

    takes_resources: bool
    watches_keepers: bool

    @property
    def name(self) -> str:
        """As ``placement.json`` and the settings spell it."""

    @property
    def fd(self) -> int | None:
        """Readable if there is something to ``hear``; None if there never is."""

    def hear(self) -> list[Answer]:
        """Return what was said, in order."""

    def tend(self, now_mono_s: float) -> list[Answer]:
        """Replace what has died; call it often."""

    def helpers(self) -> tuple[Process, ...]:
        """Children of ours that help."""

    def close(self) -> None:
        """Let the helpers end."""

    def place(self, order: Place) -> None:
        """Have an attempt begun."""

    def cancel(self, order: Cancel) -> None:
        """Have an attempt end, or never begin."""

    def begun(self, key: str) -> None:
        """Somebody has begun an attempt."""

    def forget(self, run_id: str, key: str | None) -> None:
        """A run has left the fleet.

        Args:
            run_id: the run.
            key: its newest attempt, None if it was never placed.
        """

    def may_begin(self, run_id: str) -> bool:
        """Tell whether somebody may still begin the run."""

"""What runs are placed with: an engine's agent (``engine_client``), or the callers of runs."""

from typing import Final

from supervisor.launchers.agents.protocol import Answer, Cancel, Place
from supervisor.launchers.placement_record import Placement
from workers.processes.tree import Process
from workers.records.caller import has_caller, remove_caller
from workers.records.layout import Layout
from workers.records.placement import CALLER
from workers.records.typed_errors import TypedError

FORMER: Final = ""
"""The name of the placer for any engine that is no longer configured."""


def order_of(placement: Placement) -> Place:
    """How an agent is asked for an attempt."""
    return Place(
        key=placement.key,
        run_dir=placement.run.path,
        attempt=placement.attempt,
        resources=placement.resources,
    )


class Placer:
    """Places attempts. No method blocks; results arrive later as answers, or are in the claim.

    The defaults fit a placer without helpers and without answers.

    Attributes:
        name: as ``placement.json`` and the settings spell it.
        takes_resources: an attempt takes resources of the host on which it is placed.
        watches_keepers: the keeper of a run on our host is watched, to notice its exit at once.
    """

    name: str
    takes_resources: bool
    watches_keepers: bool

    @property
    def fd(self) -> int | None:
        """Readable if there are answers to ``receive``; None if there never are."""
        return None

    def receive(self) -> list[Answer]:
        """Return the answers that have arrived, in order."""
        return []

    def maintain(self, now_mono_s: float) -> list[Answer]:
        """Replace helpers that have died; called at every scan."""
        return []

    def helpers(self) -> tuple[Process, ...]:
        """Our children that help."""
        return ()

    def close(self) -> None:
        """End the helpers."""

    def place(self, order: Place) -> None:
        """Have an attempt started."""

    def cancel(self, order: Cancel) -> None:
        """Have an attempt ended, or never started."""

    def on_claimed(self, key: str) -> None:
        """An attempt was claimed."""

    def release(self, run_id: str, key: str | None) -> None:
        """Drop a run that has left the fleet.

        Args:
            run_id: the run.
            key: its newest attempt, None if it was never placed.
        """

    def can_start(self, run_id: str) -> bool:
        """Tell whether a host may still start the run."""
        return True


class CallerPlacer(Placer):
    """Places runs with their callers: ``supervisor run`` has started a host that waits for each.

    An attempt is placed by writing ``placement.json``, which the waiting host polls; its claim
    shows that it has begun. The host's lock takes the place of an engine's reports: if it is free,
    the run will never begin.
    """

    name = CALLER
    takes_resources = False
    watches_keepers = True

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def release(self, run_id: str, key: str | None) -> None:
        """End the host, if it still waits for the run."""
        remove_caller(self._layout, run_id)

    def can_start(self, run_id: str) -> bool:
        """Tell whether a host waits for the run; True if that cannot be checked now."""
        try:
            return has_caller(self._layout, run_id)
        except (OSError, TypedError):
            return True


class FormerPlacer(Placer):
    """Places nothing: only the claims of runs of a former engine show what becomes of them."""

    name = FORMER
    takes_resources = False
    watches_keepers = False

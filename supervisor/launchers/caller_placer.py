"""Runs that their callers host: ``supervisor run`` has started a process that waits to begin them.

To the daemon it is one more engine: an attempt is placed by writing ``placement.json``, which the
waiting host polls, and the claim tells who has begun it. There is nothing to send. What an engine's
agent would report, the host's lock does: a free lock means that nobody will begin the run.
"""

from supervisor.launchers.agents.protocol import Cancel, Place
from workers.records.caller import has_caller, remove_caller
from workers.records.layout import Layout
from workers.records.placement import CALLER
from workers.records.typed_errors import TypedError


class CallerPlacer:
    """Places runs with the callers that host them.

    Args:
        layout: the root.

    Attributes:
        name: as ``placement.json`` spells it.
    """

    name = CALLER

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def place(self, order: Place) -> None:
        """The host reads ``placement.json`` itself."""

    def cancel(self, order: Cancel) -> None:
        """An attempt that was taken back is not begun; a worker at work gets the signal."""

    def begun(self, key: str) -> None:
        """Nothing was kept for the attempt."""

    def forget(self, key: str) -> None:
        """The run has left the fleet: a host that still waits for it ends."""
        remove_caller(self._layout, key.rpartition(".")[0])

    def is_there(self, run_id: str) -> bool:
        """Tell whether a host waits for the run; True if that cannot be checked now."""
        try:
            return has_caller(self._layout, run_id)
        except (OSError, TypedError):
            return True

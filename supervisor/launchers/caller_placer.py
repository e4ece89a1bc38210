"""Runs that their callers host: ``supervisor run`` has started a process that waits to begin them.

To the daemon it is one more engine: an attempt is placed by writing ``placement.json``, which the
waiting host polls, and the claim tells who has begun it. There is nothing to send. What an engine's
agent would report, the host's lock does: a free lock means that nobody will begin the run.
"""

from supervisor.launchers.agents.protocol import Answer, Cancel, Place
from workers.processes.tree import Process
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

    name: str = CALLER
    fd: None = None
    takes_resources = False
    watches_keepers = True

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def place(self, order: Place) -> None:
        """The host reads ``placement.json`` itself."""

    def cancel(self, order: Cancel) -> None:
        """An attempt that was taken back is not begun; a worker at work gets the signal."""

    def begun(self, key: str) -> None:
        """Nothing was kept for the attempt."""

    def forget(self, run_id: str, key: str | None) -> None:
        """The run has left the fleet: a host that still waits for it ends."""
        remove_caller(self._layout, run_id)

    def may_begin(self, run_id: str) -> bool:
        """Tell whether a host waits for the run; True if that cannot be checked now."""
        try:
            return has_caller(self._layout, run_id)
        except (OSError, TypedError):
            return True

    def hear(self) -> list[Answer]:
        """Hosts say nothing."""
        return []

    def tend(self, now_mono_s: float) -> list[Answer]:
        """Nothing of ours runs."""
        return []

    def helpers(self) -> tuple[Process, ...]:
        """None: hosts belong to their callers."""
        return ()

    def close(self) -> None:
        """Nothing is open."""

"""When the engine leaves: when its errand is done, and what is refused was waited for."""

from dataclasses import replace
from typing import Final

from supervisor.core.fleet import Fleet, Mode
from supervisor.core.lifecycle import Recorded
from supervisor.daemon.context import DaemonContext
from workers.records.dataclass import dataclass

SHUTDOWN_TRIES_S: Final = 3.0  # a disk that refuses a result at our end is asked thrice more


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitCondition:
    """When the engine may leave.

    Attributes:
        until_done: leave when nothing is left to do; otherwise stay until told.
        owed_wait_s: how long to stay for what the disk or a lock refuses when all else is done.
    """

    until_done: bool
    owed_wait_s: float


class ExitPolicy:
    """Decides it, turn by turn.

    Args:
        context: the effects and the books.
        errand: when to leave.

    Attributes:
        at_once: somebody asked us to leave the workers running.
    """

    def __init__(self, context: DaemonContext, errand: ExitCondition) -> None:
        self._context = context
        self._errand = errand
        self._owed_since: float | None = None
        self._told_paused = False
        self.at_once = False

    def change(self, *, owed_wait_s: float) -> None:
        """The settings were read again."""
        self._errand = replace(self._errand, owed_wait_s=owed_wait_s)

    def is_time(self, fleet: Fleet, *, asked: bool) -> bool:
        """Tell whether to leave now; says once why we stay for what is paused.

        Args:
            fleet: all runs.
            asked: a request is in the inbox that could not be taken.
        """
        if self.at_once:
            return True
        leaving = self._errand.until_done or fleet.mode is not Mode.SERVING
        if not leaving or not fleet.waits_for_disk_only():
            self._owed_since = None
            return False
        if fleet.has_more_to_start():
            self._tell_paused(fleet)
            return False
        if not fleet.active and not asked:
            return not self._context.workers()
        return self._has_waited(fleet, asked=asked)

    def _has_waited(self, fleet: Fleet, *, asked: bool) -> bool:
        """All else is done: tell whether what is refused was waited for long enough."""
        now = self._context.clock.mono_s()
        if self._owed_since is None:
            self._owed_since = now
        refused = bool(fleet.unwritten())
        owed = any(isinstance(r.state, Recorded) and r.state.owed for r in fleet.active.values())
        patience_s = SHUTDOWN_TRIES_S if refused else 0.0
        if fleet.mode is Mode.SERVING:
            patience_s = self._errand.owed_wait_s
        return (owed or refused or asked) and now - self._owed_since >= patience_s

    def _tell_paused(self, fleet: Fleet) -> None:
        count = 0 if fleet.active else fleet.paused_count()
        if count and not self._told_paused:
            what = "1 run is" if count == 1 else f"{count} runs are"
            self._context.reporter.note(
                f"{what} held back by a pause; 'supervisor resume' lifts it"
            )
        self._told_paused = count > 0

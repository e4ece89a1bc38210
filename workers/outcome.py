"""What came of a stage."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class StageOutcome:
    """How a stage ended.

    Attributes:
        status: succeeded, failed or skipped (it failed where it may).
        reason: why it did not succeed: command-failed, timed-out, cancelled, ...
        message: the reason for people, where the stage's own output does not tell it.
        timed_out_mono_s: the deadline that it missed.
        leftover_pids: processes of it that could not be killed.
    """

    status: str
    reason: str | None = None
    message: str | None = None
    timed_out_mono_s: float | None = None
    leftover_pids: tuple[int, ...] = ()

"""What came of a stage."""

from workers.records.dataclass import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class StageOutcome:
    """How a stage ended.

    Attributes:
        status: succeeded, failed or skipped (it failed where it may).
        reason: why it did not succeed: command-failed, timed-out, cancelled, ...
        message: the reason for people.
        ended_pipeline: the deadline that it missed was the pipeline's.
    """

    status: str
    reason: str | None = None
    message: str | None = None
    ended_pipeline: bool = False

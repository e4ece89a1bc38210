"""The outcomes of a run's hooks, read from the records in its directory."""

import os
from collections.abc import Iterator, Sequence
from typing import Any, Final

from supervisor.report.text.output import cut, duration
from supervisor.report.text.sanitize import clean_line, without_colours
from workers.records.dataclass import dataclass
from workers.records.files import read_object
from workers.records.hooks import HookEvent
from workers.records.json_reader import JsonReader
from workers.records.layout import RunDir
from workers.records.typed_errors import TypedError

HOOK_COLUMNS: Final = ("HOOK", "STATUS", "TIME", "ENDED BY", "MESSAGE")
UNREADABLE: Final = "unreadable"
MESSAGE_LIMIT: Final = 240  # as a stage's summary
LINES_COUNT: Final = 10  # of its output, as of a failed stage


@dataclass(frozen=True, slots=True, kw_only=True)
class HookOutcome:
    """One hook that was started. Its texts are foreign.

    Attributes:
        event: on_success, on_failure, on_finish.
        status: the record's status, or "unreadable".
        path: the record.
        duration_s: seconds; None if it has not ended.
        exit_code: None if a signal ended it or it was not started.
        reason: why it could not be started, was interrupted, or its record cannot be read.
        output: the end of its output.
        dropped_bytes: bytes of output before that.
    """

    event: str
    status: str
    path: str
    duration_s: float | None = None
    exit_code: int | None = None
    signal: str | None = None
    reason: str | None = None
    output: str = ""
    dropped_bytes: int = 0

    @property
    def is_ok(self) -> bool:
        """It succeeded or is running."""
        return self.status in ("started", "succeeded")

    @property
    def ended_by(self) -> str:
        """Its signal or exit code; "" for neither."""
        code = None if self.exit_code is None else f"exit code {self.exit_code}"
        return self.signal or code or ""

    @property
    def last_lines(self) -> list[str]:
        """The last LINES_COUNT lines of its output, clean."""
        lines = (clean_line(line) for line in without_colours(self.output).splitlines())
        return [line for line in lines if line.strip()][-LINES_COUNT:]

    @property
    def message(self) -> str:
        """The reason if it has one, else its last line; clean, at most MESSAGE_LIMIT columns."""
        last = next(reversed(self.last_lines), "")
        return cut(clean_line(self.reason or last), MESSAGE_LIMIT)

    @property
    def problem(self) -> str:
        """A hook that failed, in one clean line."""
        parts = [f"hook {self.event} {self.status}", self.ended_by, self.message]
        name = os.path.join("hooks", os.path.basename(self.path))
        return clean_line(": ".join(part for part in parts if part) + f" ({name})")

    def to_json(self) -> dict[str, Any]:
        """As ``show --json`` and ``status RUN --json`` print it."""
        return {
            "hook": self.event,
            "status": self.status,
            "duration_s": self.duration_s,
            "exit_code": self.exit_code,
            "signal": self.signal,
            "reason": self.reason,
            "last_lines": self.last_lines,
            "record": self.path,
        }


def hook_outcomes(run: RunDir) -> tuple[HookOutcome, ...]:
    """The hooks of a run that were started, in their order."""
    outcomes = (_read(run.hook(event), event) for event in HookEvent)
    return tuple(outcome for outcome in outcomes if outcome is not None)


def _read(path: str, event: str) -> HookOutcome | None:
    try:
        record = JsonReader(read_object(path), path)
        return HookOutcome(
            event=event,
            status=record.text("status"),
            path=path,
            duration_s=record.number_or_none("duration_s"),
            exit_code=record.integer_or_none("exit_code"),
            signal=record.text_or_none("signal"),
            reason=record.text_or_none("reason"),
            output=record.text_or_none("output") or "",
            dropped_bytes=record.integer_or("output_dropped_bytes", 0),
        )
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, TypedError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        return HookOutcome(event=event, status=UNREADABLE, path=path, reason=reason)


def hook_rows(hooks: Sequence[HookOutcome]) -> Iterator[tuple[str, ...]]:
    """The rows of a table with HOOK_COLUMNS."""
    for hook in hooks:
        lasted = duration(hook.duration_s)
        yield hook.event, hook.status, lasted, hook.ended_by or "-", hook.message

"""What became of a run's hooks, from the records in its directory."""

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

HOOK_COLUMNS: Final = ("HOOK", "STATUS", "TIME", "ENDED BY", "SAID")
FINE: Final = ("started", "succeeded")
UNREADABLE: Final = "unreadable"
SAID_LIMIT: Final = 240  # as a stage's summary
LINES_COUNT: Final = 10  # of its output, as of a failed stage


@dataclass(frozen=True, slots=True, kw_only=True)
class HookOutcome:
    """One hook that was begun. What it holds is foreign text.

    Attributes:
        event: on_success, on_failure, on_finish.
        status: the record's word; "unreadable" where it is none.
        path: the record.
        duration_s: seconds; None where it did not end.
        exit_code: None where a signal ended it, or nothing was started.
        reason: why it could not be started, was interrupted, or its record cannot be read.
        output: the end of what it wrote.
        dropped_bytes: what is missing before that.
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
        """It succeeded, or is still under way."""
        return self.status in FINE

    @property
    def ended_by(self) -> str:
        """Its signal or exit code; "" for none."""
        code = None if self.exit_code is None else f"exit code {self.exit_code}"
        return self.signal or code or ""

    @property
    def last_lines(self) -> list[str]:
        """The last lines of its output, clean."""
        lines = (clean_line(line) for line in without_colours(self.output).splitlines())
        return [line for line in lines if line.strip()][-LINES_COUNT:]

    @property
    def message(self) -> str:
        """Why it did not go well, else its last line; clean, at most SAID_LIMIT characters."""
        return cut(clean_line(self.reason or next(reversed(self.last_lines), "")), SAID_LIMIT)

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
    """The hooks of a run that were begun, in the order in which they are."""
    found = (_read(run.hook(event), event) for event in HookEvent)
    return tuple(hook for hook in found if hook is not None)


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
        why = error.strerror if isinstance(error, OSError) else str(error)
        return HookOutcome(event=event, status=UNREADABLE, path=path, reason=why)


def hook_rows(hooks: Sequence[HookOutcome]) -> Iterator[tuple[str, ...]]:
    """The hooks as rows below HEAD."""
    for hook in hooks:
        lasted = duration(hook.duration_s)
        yield hook.event, hook.status, lasted, hook.ended_by or "-", hook.message


def hook_problem(hook: HookOutcome) -> str:
    """A hook that did not go well, in one clean line."""
    words = [f"hook {hook.event} {hook.status}", hook.ended_by, hook.message]
    name = os.path.join("hooks", os.path.basename(hook.path))
    return clean_line(": ".join(word for word in words if word) + f" ({name})")

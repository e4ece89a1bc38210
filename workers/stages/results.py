"""Results of processes, tries and stages, as facts for the journal and as text for people."""

import re
from dataclasses import field
from typing import Any, Final

from workers.output.capture import BoundedLog
from workers.output.masking import Mask
from workers.records.dataclass import dataclass
from workers.records.limits import SUMMARY_LIMIT_CHARS

_LAST_LINE_BYTES: Final = 2_000  # enough for 240 characters of any script and trailing blanks
# ESC [ ... letter (ECMA-48 CSI) and ESC ] ... BEL (a title): colours are not part of the text.
_TERMINAL: Final = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?")


@dataclass(slots=True)
class ProcessResult:
    """How the process of one try ended.

    Attributes:
        exit_code: None if a signal ended it or it never started.
        signal: the signal's name; None if it exited.
        reason: None if it exited by itself; else timed-out, cancelled, or why it did not start.
        message: details of the reason.
        leftover_count: processes that outlived it and were killed.
        leftover_pids: those that could not be killed.
        output_incomplete: a process still had a stream open.
    """

    exit_code: int | None = None
    signal: str | None = None
    reason: str | None = None
    message: str | None = None
    duration_s: float = 0.0
    peak_rss_bytes: int = 0
    cpu_s: float = 0.0
    leftover_count: int = 0
    leftover_pids: list[int] = field(default_factory=list)
    output_incomplete: bool = False


@dataclass(slots=True, kw_only=True)
class TryResult:
    """The result of one try.

    Attributes:
        about: the stage, its place and the number of the try.
        process: how its process ended; the default if there was none.
        stdout: its closed log; None if there is none. ``stderr`` likewise.
        reason: None for success; else command-failed, timed-out, cancelled, or why it did not
            start.
    """

    about: dict[str, Any]
    process: ProcessResult = field(default_factory=ProcessResult)
    stdout: BoundedLog | None = None
    stderr: BoundedLog | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StageOutcome:
    """How a stage ended.

    Attributes:
        status: succeeded, failed, or skipped (it failed and may fail).
        reason: why it did not succeed: command-failed, timed-out, cancelled, ...
        message: the reason for people.
        ended_pipeline: it missed the pipeline's deadline, not its own.
    """

    status: str
    reason: str | None = None
    message: str | None = None
    ended_pipeline: bool = False


def stage_facts(
    result: TryResult, status: str, *, summary: str | None = None, error_file: str | None = None
) -> dict[str, Any]:
    """The data of stage_ended and stage_retried.

    Args:
        result: the try.
        status: succeeded, failed or skipped.
        summary: one line for people; cut to 240 characters.
        error_file: relative to the root.
    """
    process = result.process
    return {
        **result.about,
        "status": status,
        "exit_code": process.exit_code,
        "signal": process.signal,
        "duration_s": process.duration_s,
        "reason": result.reason,
        "summary": None if summary is None else summary[:SUMMARY_LIMIT_CHARS],
        "error_file": error_file,
        "stdout": _counts(result.stdout),
        "stderr": _counts(result.stderr),
        "peak_rss_bytes": process.peak_rss_bytes,
        "cpu_s": process.cpu_s,
        "leftover_count": process.leftover_count,
        "output_incomplete": process.output_incomplete,
    }


def _counts(log: BoundedLog | None) -> dict[str, int]:
    if log is None:
        return {"seen_bytes": 0, "kept_bytes": 0}
    return {"seen_bytes": log.seen_bytes, "kept_bytes": log.kept_bytes}


def failure_message(result: TryResult, mask: Mask | None) -> str:
    """Why a try did not succeed, in one line: ``exit code 1: <the last line it printed>``."""
    process, reason = result.process, result.reason
    message, line = process.message, None
    if message is None:
        line = last_line(result.stdout, result.stderr)
        if reason in ("timed-out", "cancelled", "exit-status-unknown"):
            message = f"{reason.replace('-', ' ')} after {process.duration_s:g} s"
        elif process.signal == "SIGKILL":  # not by us; the kernel, when memory runs out
            message = "ended by SIGKILL (out of memory?)"
        elif process.signal is not None:
            message = f"ended by {process.signal}"
        else:
            message = f"exit code {process.exit_code}"
    text = f"{message}: {line}" if line else message
    return clean(text if mask is None else mask.text(text))


def last_line(stdout: BoundedLog | None, stderr: BoundedLog | None) -> str | None:
    """The last line with visible text, of stderr, else of stdout; safe to show."""
    for log in (stderr, stdout):
        text = "" if log is None else log.end(_LAST_LINE_BYTES).decode("utf-8", "replace")
        for line in reversed(text.splitlines()):
            if cleaned := clean(line):
                return cleaned
    return None


def clean(text: str) -> str:
    """One line without control characters, so that it cannot move a cursor or reverse text."""
    plain = _TERMINAL.sub("", text)
    return "".join(c if c.isprintable() else " " for c in plain).strip()

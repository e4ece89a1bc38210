"""One try of a command stage, and what is told of it: to the journal, and in one line to people."""

from dataclasses import dataclass
from typing import Any

from workers.capture import BoundedLog
from workers.masking import Mask
from workers.stage import Ending


@dataclass(slots=True, kw_only=True)
class Tried:
    """What came of one try.

    Attributes:
        about: which stage, its place and the number of the try.
        reason: None for success, else command-failed, timed-out, cancelled, or why not started.
    """

    about: dict[str, Any]
    ending: Ending
    stdout: BoundedLog
    stderr: BoundedLog
    reason: str | None = None


def stage_facts(tried: Tried, status: str) -> dict[str, Any]:
    """What the journal holds of a try; summary and error file are the caller's to add."""
    ending = tried.ending
    return {
        **tried.about,
        "status": status,
        "exit_code": ending.exit_code,
        "signal": ending.signal,
        "duration_s": ending.duration_s,
        "reason": tried.reason,
        "summary": None,
        "error_file": None,
        "stdout": _counts(tried.stdout),
        "stderr": _counts(tried.stderr),
        "peak_rss_bytes": ending.peak_rss_bytes,
        "cpu_s": ending.cpu_s,
        "leftover_count": ending.leftover_count,
        "output_incomplete": ending.output_incomplete,
    }


def _counts(log: BoundedLog) -> dict[str, int]:
    return {"seen_bytes": log.seen_bytes, "kept_bytes": log.kept_bytes}


def message_of(tried: Tried, mask: Mask | None) -> str:
    """Why a try did not succeed, in one line, with the last line of its output."""
    ending, reason = tried.ending, tried.reason
    if ending.message is not None:
        return ending.message if mask is None else mask.text(ending.message)
    if reason in ("timed-out", "cancelled", "exit-status-unknown"):
        words = f"{reason.replace('-', ' ')} after {ending.duration_s:g} s"
    elif ending.signal is not None:
        words = f"ended by {ending.signal}"
    else:
        words = f"exit code {ending.exit_code}"
    line = last_line(tried.stdout, tried.stderr)
    text = f"{words}: {line}" if line else words
    return text if mask is None else mask.text(text)


def last_line(stdout: BoundedLog, stderr: BoundedLog) -> str | None:
    """The last line that says something, of stderr, else of stdout; safe to show."""
    for log in (stderr, stdout):
        text = log.end(2_000).decode("utf-8", "replace")
        for line in reversed(text.splitlines()):
            clean = "".join(c if c.isprintable() else " " for c in line).strip()
            if clean:
                return clean
    return None

"""One try of a stage, and what is told of it: to the journal, and in one line to people."""

import re
from dataclasses import dataclass, field
from typing import Any, Final

from workers.output.capture import BoundedLog
from workers.output.masking import Mask
from workers.records.limits import SUMMARY_LIMIT_CHARS
from workers.stages.try_runner import ProcessResult

_LAST_LINE_BYTES: Final = 2_000  # enough for 240 characters of any script, and for trailing blanks
# ESC [ ... letter (ECMA-48 CSI) and ESC ] ... BEL (a title): colour is not part of what is said.
_TERMINAL: Final = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?")


@dataclass(slots=True, kw_only=True)
class TryResult:
    """What came of one try.

    Attributes:
        about: which stage, its place and the number of the try.
        ending: how its process ended; the default where it never had one.
        stdout: its closed log, None where it has none; ``stderr`` likewise.
        reason: None for success, else command-failed, timed-out, cancelled, or why not started.
    """

    about: dict[str, Any]
    ending: ProcessResult = field(default_factory=ProcessResult)
    stdout: BoundedLog | None = None
    stderr: BoundedLog | None = None
    reason: str | None = None


def stage_facts(
    tried: TryResult, status: str, *, summary: str | None = None, error_file: str | None = None
) -> dict[str, Any]:
    """What stage_ended and stage_retried hold.

    Args:
        tried: the try.
        status: succeeded, failed or skipped.
        summary: one line for people; cut to 240 characters.
        error_file: relative to the root.
    """
    ending = tried.ending
    return {
        **tried.about,
        "status": status,
        "exit_code": ending.exit_code,
        "signal": ending.signal,
        "duration_s": ending.duration_s,
        "reason": tried.reason,
        "summary": None if summary is None else summary[:SUMMARY_LIMIT_CHARS],
        "error_file": error_file,
        "stdout": _counts(tried.stdout),
        "stderr": _counts(tried.stderr),
        "peak_rss_bytes": ending.peak_rss_bytes,
        "cpu_s": ending.cpu_s,
        "leftover_count": ending.leftover_count,
        "output_incomplete": ending.output_incomplete,
    }


def _counts(log: BoundedLog | None) -> dict[str, int]:
    if log is None:
        return {"seen_bytes": 0, "kept_bytes": 0}
    return {"seen_bytes": log.seen_bytes, "kept_bytes": log.kept_bytes}


def message_of(tried: TryResult, mask: Mask | None) -> str:
    """Why a try did not succeed, in one line: ``exit code 1: <the last line it printed>``."""
    ending, reason = tried.ending, tried.reason
    words, line = ending.message, None
    if words is None:
        line = last_line(tried.stdout, tried.stderr)
        if reason in ("timed-out", "cancelled", "exit-status-unknown"):
            words = f"{reason.replace('-', ' ')} after {ending.duration_s:g} s"
        elif ending.signal == "SIGKILL":  # not by us; a full memory does it this way
            words = "ended by SIGKILL (out of memory?)"
        elif ending.signal is not None:
            words = f"ended by {ending.signal}"
        else:
            words = f"exit code {ending.exit_code}"
    text = f"{words}: {line}" if line else words
    return clean(text if mask is None else mask.text(text))


def last_line(stdout: BoundedLog | None, stderr: BoundedLog | None) -> str | None:
    """The last line that says something, of stderr, else of stdout; safe to show."""
    for log in (stderr, stdout):
        text = "" if log is None else log.end(_LAST_LINE_BYTES).decode("utf-8", "replace")
        for line in reversed(text.splitlines()):
            if shown := clean(line):
                return shown
    return None


def clean(text: str) -> str:
    """One line without control characters: nothing in it moves a cursor or turns text around."""
    plain = _TERMINAL.sub("", text)
    return "".join(c if c.isprintable() else " " for c in plain).strip()

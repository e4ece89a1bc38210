"""Whether a run has begun: any trace counts, since the journal line that says so may be damaged.

No stage may run twice without a request. So a run counts as never begun only if nothing proves the
contrary: its journal contains ``run_accepted`` alone, there is no output of a stage, and the
manifest is not in progress. One heartbeat proves nothing: a worker writes the first one before
``run_started``.
"""

import os
from collections.abc import Iterable

from workers.records.files import read_bytes, read_object
from workers.records.journal import Event, Fact, JournalReader
from workers.records.layout import RunDir
from workers.records.typed_errors import TypedError


def has_begun(run: RunDir, facts: Iterable[Fact], bad_lines_count: int) -> bool:
    """Whether a run has begun.

    Args:
        run: the run's files.
        facts: its journal.
        bad_lines_count: whole lines of the journal that are not facts.
    """
    events = [fact.event for fact in facts]
    if any(event != Event.RUN_ACCEPTED for event in events):
        return True
    if len(events) + bad_lines_count > 1:  # a damaged line other than the first
        return True
    return _has_output(run) or _has_two_heartbeats(run) or _was_in_progress(run)


def is_never_begun(run: RunDir) -> bool:
    """Whether a run on disk has never begun; False if its journal cannot be read."""
    reader = JournalReader(run.journal)
    try:
        return not has_begun(run, reader.read_new(), reader.bad_lines_count)
    except (OSError, TypedError):
        return False


def _has_output(run: RunDir) -> bool:
    for directory in (run.commands, run.errors):
        try:
            if any(name.endswith((".log", ".json")) for name in os.listdir(directory)):
                return True
        except OSError:
            continue
    return False


def _has_two_heartbeats(run: RunDir) -> bool:
    try:
        return read_bytes(run.heartbeat).count(b"\n") > 1
    except (OSError, TypedError):
        return False


def _was_in_progress(run: RunDir) -> bool:
    try:
        return read_object(run.manifest).get("status") == "in_progress"
    except (OSError, TypedError):
        return False

"""What is new in a run's journal, as stimuli."""

from supervisor.core import stimuli
from supervisor.core.stimuli import Stimulus
from supervisor.daemon.context import DaemonContext
from supervisor.daemon.run_handle import RunHandle
from workers.records.journal import Event
from workers.records.typed_errors import TypedError


def facts(context: DaemonContext, handle: RunHandle) -> list[Stimulus]:
    """Read what is new in a run's journal."""
    reader, run_id = handle.reader, handle.run_id
    try:
        new = reader.read()
    except (FileNotFoundError, NotADirectoryError):
        return [stimuli.DirectoryGone(run_id)]
    except (OSError, TypedError) as error:
        context.log.write("journal_unreadable", run_id=run_id, why=str(error))
        return []
    found: list[Stimulus] = []
    context.news_count += bool(new)
    for fact in new:
        if fact.event == Event.RUN_STARTED:
            found.append(stimuli.Started(run_id))
        elif fact.event == Event.VERDICT:
            return [*found, verdict(handle)]
    return [*found, stimuli.JournalAdvanced(run_id)] if new else found


def verdict(handle: RunHandle) -> Stimulus:
    """The verdict that the journal holds, as a stimulus."""
    fact = handle.reader.verdict
    if fact is None:
        raise LookupError(f"no verdict in the journal of {handle.run_id}")
    detail = fact.data.get("detail")
    return stimuli.VerdictRead(
        handle.run_id, str(fact.data.get("status")), None if detail is None else str(detail)
    )

"""What becomes of runs, as stimuli: read from records, from journals, at the scan, at an exit.

Nothing is decided here.
"""

from collections.abc import Iterable
from typing import Final

from supervisor.core import stimuli
from supervisor.core.fleet import Fleet
from supervisor.core.lifecycle import WATCHED
from supervisor.core.stimuli import Stimulus
from supervisor.daemon.context import DaemonContext
from supervisor.daemon.run_handle import RunHandle
from workers.records.files import is_dir
from workers.records.history import read_lines
from workers.records.journal import Event, read_journal, verdict_in
from workers.records.request import pending_requests
from workers.records.spec import AfterSpec, RunSpec
from workers.records.typed_errors import TypedError

MISSING: Final = "missing"
"""The status of a dependency that has neither a directory nor a line in the history."""


def accepted_run(context: DaemonContext, spec: RunSpec) -> stimuli.Accepted:
    """The stimulus of a run that is on disk."""
    statuses = ((one.run_id, _dependency_status(context, one)) for one in spec.after)
    return stimuli.Accepted(
        run_id=spec.run_id,
        task_id=spec.task_id,
        parent_run_id=spec.parent_run_id,
        waited_for=spec.asked_by == "run",
        nested_in=spec.nested_in,
        priority=spec.priority,
        group=spec.group,
        dependencies=tuple(one.run_id for one in spec.after),
        dependency_statuses=tuple((r, status) for r, status in statuses if status is not None),
    )


def _dependency_status(context: DaemonContext, dependency: AfterSpec) -> str | None:
    """The final status of a dependency; None if it has none yet or it cannot be read now."""
    if dependency.run_id in context.runs:
        return None
    run = context.layout.run_dir(dependency.task_id, dependency.run_id)
    try:
        if is_dir(run.path):
            verdict = verdict_in(read_journal(run.journal))
            return None if verdict is None else str(verdict.data.get("status"))
        for _, line in read_lines(context.layout.history(dependency.task_id)):
            if line.get("runId") == dependency.run_id:
                return str(line.get("status"))
    except (OSError, TypedError) as error:  # the next start tries again
        context.log.write("leader_unreadable", run_id=dependency.run_id, why=str(error))
        return None
    requested = (one.run_id for r in pending_requests(context.layout) for one in r.runs)
    return None if dependency.run_id in requested else MISSING


def new_facts(context: DaemonContext, handle: RunHandle) -> list[Stimulus]:
    """Read what is new in a run's journal."""
    reader, run_id = handle.reader, handle.run_id
    try:
        facts = reader.read()
    except (FileNotFoundError, NotADirectoryError):
        return [stimuli.DirectoryGone(run_id)]
    except (OSError, TypedError) as error:
        context.log.write("journal_unreadable", run_id=run_id, why=str(error))
        return []
    events: list[Stimulus] = []
    context.news_count += bool(facts)
    for fact in facts:
        if fact.event == Event.RUN_STARTED:
            events.append(stimuli.Started(run_id))
        elif fact.event == Event.VERDICT:
            return [*events, verdict_seen(handle)]
    return [*events, stimuli.JournalAdvanced(run_id)] if facts else events


def verdict_seen(handle: RunHandle) -> Stimulus:
    """The verdict of a journal that has one, as a stimulus."""
    fact = handle.reader.verdict
    if fact is None:
        raise LookupError(f"no verdict in the journal of {handle.run_id}")
    detail = fact.data.get("detail")
    return stimuli.VerdictRead(
        handle.run_id, str(fact.data.get("status")), None if detail is None else str(detail)
    )


def scan(context: DaemonContext, fleet: Fleet, *, turn: int, scans_per_beat: int) -> list[Stimulus]:
    """Observe every live run once: new facts, heartbeat, owner.

    A run that is on time and whose journal has not grown costs one lseek; its heartbeat is read
    once per heartbeat interval. A run directory that was moved away with its worker at work is
    noticed when the next manifest is written. ``turn`` is the number of this scan.
    """
    news: list[Stimulus] = []
    losses: list[Stimulus] = []
    moved: list[str] = []
    still: list[str] = []
    stopped: list[str] = []
    for run_id in _to_observe(context, fleet, context.size_poller.share(turn, scans_per_beat)):
        run = fleet.active.get(run_id)
        if run is None or type(run.state) not in WATCHED:
            continue
        handle = context.runs[run_id]
        is_due = (run.number + turn) % scans_per_beat == 0
        seen = handle.launcher.observe(handle, run, is_due=is_due)
        news += seen.news
        losses += seen.losses
        if seen.has_beaten is not None:
            (moved if seen.has_beaten else still).append(run_id)
        if seen.is_stopped:
            stopped.append(run_id)
    heartbeats = stimuli.HeartbeatsScanned(
        moved=tuple(moved), still=tuple(still), stopped=frozenset(stopped)
    )
    return [*news, heartbeats, *losses]


def _to_observe(context: DaemonContext, fleet: Fleet, due: list[str]) -> Iterable[str]:
    """Each run once that is late or changing, has news, cannot be polled by size, or is due."""
    sizes, active = context.size_poller, fleet.active.keys()
    unwatched = (active - sizes.names()) | (active - context.workers().keys())
    return dict.fromkeys((*fleet.busy, *sizes.changed(), *sorted(unwatched), *due))


def exited(context: DaemonContext, run_id: str) -> list[Stimulus]:
    """Reap a watched process that has exited, and read what it left."""
    worker = context.exiting.pop(run_id, None)
    handle = context.runs.get(run_id)
    if worker is not None:
        worker.reap()
    if worker is not None or handle is None or handle.worker is None:
        return []
    worker, handle.worker = handle.worker, None
    return handle.launcher.exited(handle, worker.reap())

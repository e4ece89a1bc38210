"""What is due at this instant, and when to look again."""

from supervisor.core.actions import (
    KillLeftovers,
    Launch,
    Record,
    WriteManifest,
    WriteSnapshot,
    WriteVerdict,
)
from supervisor.core.admission import admitted
from supervisor.core.fleet import Draft, Fleet, Rules
from supervisor.core.lifecycle import (
    WATCHED,
    Ended,
    Judged,
    Move,
    Queued,
    Run,
    Starting,
    Stopping,
)
from supervisor.core.snapshots import leave
from supervisor.core.worker_events import lose


def run(draft: Draft) -> None:
    """Emit every action that is due; each is held back until its outcome is told."""
    draft.release_delayed()
    for run_id in list(draft.busy):
        _one(draft, draft.active[run_id])  # as it is now: losing a parent moves its children
    for run_id in [name for name, due in draft.due.items() if due <= draft.now]:
        _renew(draft, draft.active[run_id])
    for task_id, book in draft.snapshots.items():
        if book.due_mono_s <= draft.now:
            draft.act(WriteSnapshot(task_id))
    leave(draft)


def _one(draft: Draft, item: Run) -> None:
    rules, now = draft.rules, draft.now
    match item.state:
        case Stopping(since_mono_s=since, detail=detail) if now >= since + rules.stopping_s(item):
            reason = "it did not end in time and was killed"
            if item.host is not None:
                reason = f"it was not seen to end in time on {item.host}"
            item = lose(draft, item, status="cancelled", detail=detail, reason=reason)
        case Judged(status=status, detail=detail, reason=reason, leftover_pids=pids) if (
            now >= item.retry_mono_s
        ):
            draft.act(
                WriteVerdict(
                    run_id=item.run_id,
                    status=status,
                    detail=detail,
                    reason=reason,
                    leftover_pids=pids,
                )
            )
            item = draft.change(item, retry_mono_s=now + rules.record_retry_s)
        case Ended() if now >= item.retry_mono_s:
            draft.act(Record(item.run_id))
            item = draft.change(item, retry_mono_s=now + rules.record_retry_s)
        case _:
            pass
    if item.remains and now >= item.clear_mono_s:
        draft.act(KillLeftovers(item.run_id))
        draft.change(item, clear_mono_s=now + rules.clear_every_s)


def _renew(draft: Draft, item: Run) -> None:
    """Write a manifest for a beat alone, unless there was none since that was last tried.

    So a disk that refuses is not asked at every turn.
    """
    has_beaten = draft.beats.get(item.run_id, 0.0) > draft.tried.get(item.run_id, 0.0)
    if has_beaten and isinstance(item.state, WATCHED):
        draft.act(WriteManifest(item.run_id))
        draft.tried[item.run_id] = draft.now


def admit(fleet: Fleet, draft: Draft) -> None:
    """Launch what the admission lets in."""
    for admission in admitted(fleet):
        item = admission.run
        state = item.state
        launches_count = state.launches_count + 1 if isinstance(state, Queued) else 1
        draft.move(
            item,
            Move.LAUNCH,
            Starting(since_mono_s=draft.now, launches_count=launches_count),
            age_from_mono_s=draft.now,
            on_loan=admission.on_loan,
        )
        draft.act(Launch(item.run_id))


def next_due(fleet: Fleet, rules: Rules) -> float | None:
    """The next instant at which something falls due, on the monotonic clock; None for never.

    A manifest for beats alone is none of it: it is written behind the look that saw a beat.
    """
    found = [book.due_mono_s for book in fleet.snapshots.values()]
    for run_id in fleet.busy:
        item = fleet.active[run_id]
        if item.remains:
            found.append(item.clear_mono_s)
        match item.state:
            case Stopping(since_mono_s=since):
                found.append(since + rules.stopping_s(item))
            case Judged() | Ended():
                found.append(item.retry_mono_s)
            case _:
                pass
    found += fleet.delayed.values()
    return min(found, default=None)

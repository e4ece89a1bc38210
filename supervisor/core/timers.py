"""What is due at this instant, and the next instant at which something is."""

from dataclasses import replace

from supervisor.core.actions import KillLeftovers, Launch, Record, WriteSnapshot, WriteVerdict
from supervisor.core.admission import admitted
from supervisor.core.fleet import Draft, Fleet, Rules
from supervisor.core.lifecycle import Ended, Judged, Move, Queued, Run, Starting, Stopping
from supervisor.core.recording import drop_settled
from supervisor.core.worker_events import lose


def run(draft: Draft) -> None:
    """Order every action that is due; each is ordered again only after its outcome or a wait."""
    draft.release_delayed()
    for run_id in list(draft.busy):
        _run_timers(draft, draft.active[run_id])  # as it is now: a lost parent stops its children
    for task_id, snapshot in draft.snapshots.items():
        if snapshot.due_mono_s <= draft.now:
            draft.act(WriteSnapshot(task_id))
    drop_settled(draft)


def _run_timers(draft: Draft, item: Run) -> None:
    rules, now = draft.rules, draft.now
    match item.state:
        case Stopping(since_mono_s=since, detail=detail) if now >= since + rules.stopping_s(item):
            reason = "it did not end in time and was killed"
            if item.host is not None:
                reason = f"it was not seen to end in time on {item.host}"
            item = lose(draft, item, status="cancelled", detail=detail, reason=reason)
        case (Judged() | Ended()) as state if now >= state.write_at_mono_s:
            draft.act(_writing(item.run_id, state))
            retry = replace(state, write_at_mono_s=now + rules.record_retry_s)
            item = draft.change(item, state=retry)
        case _:
            pass
    if item.killing is not None and now >= item.killing.next_mono_s:
        draft.act(KillLeftovers(item.run_id))
        again = replace(item.killing, next_mono_s=now + rules.clear_every_s)
        draft.change(item, killing=again)


def _writing(run_id: str, state: Judged | Ended) -> WriteVerdict | Record:
    if isinstance(state, Ended):
        return Record(run_id)
    return WriteVerdict(
        run_id=run_id,
        status=state.status,
        detail=state.detail,
        reason=state.reason,
        leftover_pids=state.leftover_pids,
    )


def admit(fleet: Fleet, draft: Draft) -> None:
    """Launch the runs that admission chooses."""
    for admission in admitted(fleet):
        item = admission.run
        launches_count = item.state.launches_count if isinstance(item.state, Queued) else 0
        draft.move(
            item,
            Move.LAUNCH,
            Starting(since_mono_s=draft.now, launches_count=launches_count + 1),
            age_from_mono_s=draft.now,
            on_loan=admission.on_loan,
        )
        draft.act(Launch(item.run_id))


def next_due(fleet: Fleet, rules: Rules) -> float | None:
    """The next instant at which something falls due, on the monotonic clock; None for never.

    A manifest for heartbeats alone never does: the scan that reads the heartbeat causes it.
    """
    instants = [snapshot.due_mono_s for snapshot in fleet.snapshots.values()]
    for item in (fleet.active[run_id] for run_id in fleet.busy):
        if item.killing is not None:
            instants.append(item.killing.next_mono_s)
        match item.state:
            case Stopping(since_mono_s=since):
                instants.append(since + rules.stopping_s(item))
            case Judged(write_at_mono_s=at) | Ended(write_at_mono_s=at):
                instants.append(at)
            case _:
                pass
    instants += fleet.delayed.values()
    return min(instants, default=None)

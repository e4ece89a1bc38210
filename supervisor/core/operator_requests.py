"""What somebody asked for: to end one run, to start no more, to end all."""

from supervisor.core import stimuli
from supervisor.core.actions import StopWorker
from supervisor.core.fleet import Draft, Mode
from supervisor.core.lifecycle import Judged, Move, Queued, Run, Running, Starting, Stopping
from supervisor.core.policy.backoff import Jitter


def stop(draft: Draft, run: Run, detail: str) -> None:
    """End one run: a queued one by a verdict, a live one by its worker."""
    match run.state:
        case Queued():
            judged = Judged(status="cancelled", detail=detail, reason="it was still queued")
            draft.move(run, Move.JUDGE, judged)
        case Starting() | Running():
            draft.move(run, Move.STOP, Stopping(since_mono_s=draft.now, detail=detail))
            draft.act(StopWorker(run.run_id, detail))
        case _:
            return


def cancel_asked(draft: Draft, s: stimuli.CancelRequested, _: Jitter) -> None:
    """Somebody wants one run to end."""
    run = draft.find(s.run_id)
    if run is not None:
        stop(draft, run, s.detail)


def drain_asked(draft: Draft, _s: stimuli.DrainRequested, _: Jitter) -> None:
    """Start nothing more."""
    if draft.mode is Mode.SERVING:
        draft.mode = Mode.DRAINING


def stop_asked(draft: Draft, _s: stimuli.StopRequested, _: Jitter) -> None:
    """End what runs, start nothing more."""
    draft.mode = Mode.STOPPING
    for run in list(draft.active.values()):
        stop(draft, run, "stopped")


def limit_changed(draft: Draft, s: stimuli.LimitChanged, _: Jitter) -> None:
    """How many may be live at once, in all and of each group."""
    draft.max_runs = s.max_runs
    draft.groups = s.groups


def pauses_changed(draft: Draft, s: stimuli.PausesChanged, _: Jitter) -> None:
    """What is paused."""
    draft.pauses = s.pauses

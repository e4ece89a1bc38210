"""What operators request: end one run, start no more, end all, other limits, pauses."""

from supervisor.core import stimuli
from supervisor.core.actions import StopWorker
from supervisor.core.fleet import Draft, Mode
from supervisor.core.lifecycle import Judged, Move, Queued, Run, Running, Starting, Stopping


def stop(draft: Draft, run: Run, detail: str) -> None:
    """End one run: a queued one by a verdict, a live one through its worker."""
    match run.state:
        case Queued():
            judged = Judged(status="cancelled", detail=detail, reason="it was still queued")
            draft.move(run, Move.JUDGE, judged)
        case Starting() | Running():
            draft.move(run, Move.STOP, Stopping(since_mono_s=draft.now, detail=detail))
            draft.act(StopWorker(run.run_id, detail))
        case _:
            return


def cancel_requested(draft: Draft, s: stimuli.CancelRequested) -> None:
    """End one run."""
    run = draft.find(s.run_id)
    if run is not None:
        stop(draft, run, s.detail)


def drain_requested(draft: Draft, _s: stimuli.DrainRequested) -> None:
    """Start no more queued runs."""
    if draft.mode is Mode.SERVING:
        draft.mode = Mode.DRAINING


def stop_requested(draft: Draft, _s: stimuli.StopRequested) -> None:
    """End active runs, start no more queued ones."""
    draft.mode = Mode.STOPPING
    for run in list(draft.active.values()):
        stop(draft, run, "stopped")


def limit_changed(draft: Draft, s: stimuli.LimitChanged) -> None:
    """Change how many runs may be live at once."""
    draft.max_runs = s.max_runs
    draft.groups = s.groups


def pauses_changed(draft: Draft, s: stimuli.PausesChanged) -> None:
    """Change what is paused."""
    draft.pauses = s.pauses

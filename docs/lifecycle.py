"""Write diagram and matrix of ``reference/lifecycle.md``: ``python -m docs.lifecycle``.

The diagram is ``supervisor.core.lifecycle.TABLE``. The matrix is measured: the real ``step`` gets
every stimulus for a run in every state, and a cell is the state of the run afterwards.
``tests/architecture/test_docs.py`` compares both with the page.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from supervisor.core import stimuli
from supervisor.core.fleet import Fleet, Rules
from supervisor.core.lifecycle import TABLE
from supervisor.core.pauses import Pauses
from supervisor.core.policy.backoff import Backoff
from supervisor.core.policy.liveness import HUNG_SCANS_COUNT, Ages
from supervisor.core.step import HANDLERS, step
from supervisor.core.stimuli import Stimulus

PAGE = Path(__file__).parent / "reference/lifecycle.md"
NEW = "(new)"
RUN, TASK = "r", "t"
RULES = Rules(
    lock=Backoff(attempts_count=2, delay_s=0.1, factor=2.0, max_delay_s=1.0),
    launch=Backoff(attempts_count=2, delay_s=0.1, factor=2.0, max_delay_s=1.0),
    ages=Ages(interval_s=1.0, stale_after_s=5.0, hung_after_s=20.0),
    grace_s=2.0,
    manifest_throttle_s=3.0,
)
LATER_S = 100.0  # beyond every deadline of RULES
STILL = stimuli.HeartbeatsScanned(still=(RUN,))
NEW_RUN = stimuli.Accepted(run_id=RUN, task_id=TASK, parent_run_id=None, waited_for=False)
CANCEL = stimuli.CancelRequested(RUN, "cancelled-by-user")


@dataclass(frozen=True, slots=True)
class Event:
    """One row: what happens, the stimuli of it (one turn each), and the seconds before them."""

    name: str
    happened: tuple[Stimulus, ...] = ()
    wait_s: float = 0.0


def _row(stimulus: Stimulus, note: str = "", *, wait_s: float = 0.0, times: int = 1) -> Event:
    return Event(f"`{type(stimulus).__name__}`{note}", (stimulus,) * times, wait_s)


EVENTS = (
    _row(NEW_RUN),
    _row(stimuli.Adopted(NEW_RUN, started=False), ", its worker has not started"),
    _row(stimuli.Adopted(NEW_RUN, started=True), ", its worker has started"),
    _row(stimuli.LimitChanged(1), ", there is room"),
    _row(stimuli.LaunchFailed(RUN, "", transient=True), ", transient"),
    _row(stimuli.LaunchFailed(RUN, "", transient=False), ", permanent or tried too often"),
    _row(stimuli.PlacementWithdrawn(RUN)),
    _row(stimuli.CallerGone(RUN)),
    _row(stimuli.Started(RUN)),
    _row(stimuli.WorkerOnHost(RUN, "other")),
    _row(stimuli.JournalAdvanced(RUN)),
    _row(CANCEL),
    _row(stimuli.StopRequested()),
    _row(stimuli.DrainRequested()),
    _row(stimuli.PausesChanged(Pauses())),
    Event("none; the time to stop is up", (), LATER_S),
    _row(STILL, f", hung {HUNG_SCANS_COUNT} times in a row", wait_s=LATER_S, times=3),
    _row(stimuli.Stalled()),
    _row(stimuli.WorkerGone(RUN, "killed")),
    _row(stimuli.DirectoryGone(RUN)),
    _row(stimuli.LeftoversKilled(RUN, (1,)), ", some are alive"),
    _row(stimuli.LeftoversKilled(RUN, ()), ", none is alive"),
    _row(stimuli.LeftoversKilled(RUN, (1,)), ", the time is up", wait_s=LATER_S),
    _row(stimuli.KillingFailed(RUN, "")),
    _row(stimuli.KillingFailed(RUN, ""), ", the time is up", wait_s=LATER_S),
    _row(stimuli.VerdictRead(RUN, "failed", None)),
    _row(stimuli.VerdictWriteFailed(RUN, "ENOSPC")),
    _row(stimuli.ManifestWritten(RUN)),
    _row(stimuli.RunRecorded(RUN)),
    _row(stimuli.RecordFailed(RUN, "ENOSPC")),
    _row(stimuli.SnapshotWritten(TASK)),
    _row(stimuli.SnapshotWriteFailed(TASK, "held")),
    _row(stimuli.StateStale(TASK)),
)


def _turns(fleet: Fleet, *happened: Stimulus, at_s: float = 0.0) -> Fleet:
    """Take one turn per stimulus, or one without any."""
    for stimulus in [[s] for s in happened] or [[]]:
        fleet, _ = step(fleet, stimulus, now_mono_s=at_s, rules=RULES, jitter=lambda: 0.5)
    return fleet


def _state(fleet: Fleet) -> str:
    run = fleet.find(RUN)
    return "" if run is None else type(run.state).__name__.lower()


def _fleets() -> dict[str, Fleet]:
    """A fleet with the run in each state, in which no queued run may start."""
    queued = _turns(Fleet(max_runs=0), NEW_RUN)
    starting = _turns(queued, stimuli.LimitChanged(1), stimuli.LimitChanged(0))
    running = _turns(starting, stimuli.Started(RUN))
    clearing = _turns(running, stimuli.WorkerGone(RUN, "killed"))
    ended = _turns(running, stimuli.VerdictRead(RUN, "succeeded", None))
    return {
        NEW: Fleet(max_runs=0),
        "queued": queued,
        "starting": starting,
        "running": running,
        "stopping": _turns(running, CANCEL),
        "clearing": clearing,
        "judged": _turns(clearing, stimuli.LeftoversKilled(RUN, ())),
        "ended": ended,
        "recorded": _turns(ended, stimuli.RunRecorded(RUN)),
    }


def _cell(before: str, fleet: Fleet, event: Event) -> str:
    """The state that the event leads to; empty if it changes none."""
    if event.name.startswith("`Adopted`") and before != NEW:
        return ""  # only at startup, when the fleet is empty
    without = _state(_turns(fleet, at_s=event.wait_s)) if event.happened else before
    after = _state(_turns(fleet, *event.happened, at_s=event.wait_s))
    if after == without or (before == NEW and not after):
        return ""
    return after or "(settled)"


def matrix() -> str:
    """Which stimulus leads from which state to which, as a table, and those that lead nowhere."""
    fleets = _fleets()
    states = [state.__name__.lower() for state in TABLE]
    assert [NEW, *states] == list(fleets)
    assert all(_state(fleets[name]) == name for name in states), "a state that is another"
    assert {type(s) for event in EVENTS for s in event.happened} == set(HANDLERS)
    lines = [f"| stimulus | {' | '.join(fleets)} |", "|---" * (len(fleets) + 1) + "|"]
    moving, quiet = set(), []
    for event in EVENTS:
        cells = [_cell(name, fleet, event) for name, fleet in fleets.items()]
        name = re.split("[,;]", event.name)[0]
        if any(cells):
            moving.add(name)
            lines.append(f"| {event.name} | {' | '.join(cells)} |")
        else:
            quiet.append(name)
    never = [name for name in quiet if name not in moving]
    return "\n".join([*lines, "", f"No change of state: {', '.join(never)}."])


def diagram() -> str:
    """The table of legal moves as a state diagram."""
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> queued"]
    for before, row in TABLE.items():
        for move, after in row.items():
            lines.append(f"    {before.__name__.lower()} --> {after.__name__.lower()}: {move}")
    return "\n".join([*lines, "    recorded --> [*]", "```"])


def generated(name: str, content: str) -> str:
    """A part of the page between its marks."""
    return f"<!-- begin: {name} (python -m docs.lifecycle) -->\n{content}\n<!-- end: {name} -->"


def parts() -> tuple[str, ...]:
    """Everything on the page that is generated, with its marks."""
    return generated("diagram", diagram()), generated("matrix", matrix())


def main() -> None:
    """Write the generated parts of the page."""
    text = PAGE.read_text()
    for part in parts():
        name = part.split()[2]
        pattern = rf"<!-- begin: {name} .*<!-- end: {name} -->"
        text, count = re.subn(pattern, lambda _, new=part: new, text, flags=re.DOTALL)
        assert count == 1, f"{PAGE} has no place for the {name}"
    PAGE.write_text(text)


if __name__ == "__main__":
    main()

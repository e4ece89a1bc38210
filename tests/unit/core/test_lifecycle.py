import itertools

import pytest

from supervisor.core.lifecycle import (
    TABLE,
    Clearing,
    Ended,
    Judged,
    Move,
    Queued,
    Recorded,
    Run,
    Running,
    Starting,
    State,
    Stopping,
    check,
    next_story,
)
from supervisor.errors import IllegalMoveError

EXAMPLES: list[State] = [
    Queued(),
    Starting(since_mono_s=0.0, launches_count=1),
    Running(since_mono_s=0.0),
    Stopping(since_mono_s=0.0, detail="stopped"),
    Clearing(since_mono_s=0.0, status="failed", detail="worker-lost", reason="r"),
    Judged(status="failed", detail="worker-lost", reason="r"),
    Ended(status="succeeded", detail=None),
    Recorded(status="succeeded", detail=None),
]


def test_every_state_has_a_row() -> None:
    assert set(TABLE) == {type(state) for state in EXAMPLES}


@pytest.mark.parametrize(
    ("before", "move", "after"), list(itertools.product(EXAMPLES, Move, EXAMPLES))
)
def test_a_move_is_legal_exactly_where_the_table_says_so(
    before: State, move: Move, after: State
) -> None:
    run = Run(run_id="r", task_id="t", state=before, story=("accept",))
    if TABLE[type(before)].get(move) is type(after):
        check(run, move, after)
        return
    with pytest.raises(IllegalMoveError) as caught:
        check(run, move, after)
    assert "accept" in str(caught.value)


def test_every_state_is_reached_and_every_state_but_the_last_is_left() -> None:
    reached = {after for row in TABLE.values() for after in row.values()} | {Queued}
    assert reached == set(TABLE)
    assert [state for state, row in TABLE.items() if not row] == [Recorded]


def test_a_story_is_bounded() -> None:
    run = Run(run_id="r", task_id="t", state=Queued(), story=("x",) * 100)
    assert len(next_story(run, Move.LAUNCH)) == 16
    assert next_story(run, Move.LAUNCH)[-1] == "launch"

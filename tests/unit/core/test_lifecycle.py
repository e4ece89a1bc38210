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
    move_run,
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
def test_only_moves_of_the_table_are_legal(before: State, move: Move, after: State) -> None:
    run = Run(run_id="r", task_id="t", state=before, moves=("accept",))
    if TABLE[type(before)].get(move) is type(after):
        moved = move_run(run, move, after)
        assert (moved.state, moved.moves) == (after, ("accept", str(move)))
        return
    with pytest.raises(IllegalMoveError) as caught:
        move_run(run, move, after)
    assert "accept" in str(caught.value)


def test_every_state_can_be_reached_and_all_but_the_last_can_be_left() -> None:
    reached = {after for row in TABLE.values() for after in row.values()} | {Queued}
    assert reached == set(TABLE)
    assert [state for state, row in TABLE.items() if not row] == [Recorded]


def test_a_run_remembers_its_last_16_moves() -> None:
    run = Run(run_id="r", task_id="t", state=Queued(), moves=("x",) * 100)
    moved = move_run(run, Move.LAUNCH, Starting(since_mono_s=0.0, launches_count=1))
    assert moved.moves == ("x",) * 15 + ("launch",)

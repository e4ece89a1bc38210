"""Messages between a supervisor and an agent are read back as they were sent, or refused."""

import pytest

from supervisor.launchers.agents.protocol import (
    LINE_LIMIT_BYTES,
    AgentReady,
    Answer,
    BadLineError,
    Cancel,
    JobEnded,
    Lines,
    Note,
    Order,
    Place,
    Placed,
    Refused,
    parse_answer,
    parse_order,
)

ORDERS: list[Order] = [
    Place(key="r.1", run_dir="/x", attempt=1, resources={"slot": 1}),
    Cancel("r.1", claimed=True),
]
ANSWERS: list[Answer] = [
    AgentReady(),
    Placed("r.1", "77"),
    Refused("r.1", "no", transient=True),
    JobEnded("r.1", "exit 1"),
    Note("line one\nline two"),
]


@pytest.mark.parametrize("order", ORDERS)
def test_order_is_read_as_it_was_written(order: Order) -> None:
    assert parse_order(order.to_line()) == order


@pytest.mark.parametrize("answer", ANSWERS)
def test_answer_is_read_as_it_was_written(answer: Answer) -> None:
    assert parse_answer(answer.to_line()) == answer


@pytest.mark.parametrize("line", [b"", b"x", b"[]", b"{}", b'{"do": "place"}', b'{"say": 3}'])
def test_other_lines_are_refused(line: bytes) -> None:
    with pytest.raises(BadLineError):
        parse_order(line)
    with pytest.raises(BadLineError):
        parse_answer(line)


def test_lines_are_assembled_from_parts_of_any_size() -> None:
    lines = Lines()
    assert lines.feed(b"a\nb") == [b"a"]
    assert lines.feed(b"c\n\n") == [b"bc", b""]
    with pytest.raises(BadLineError):
        lines.feed(b"x" * (LINE_LIMIT_BYTES + 1))

"""No cut splits a character or an escape sequence."""

import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.output.capture import BoundedLog
from workers.output.truncate import head_end, tail_of, tail_start

pytestmark = pytest.mark.fault("V7")

UNITS = (
    "\x1b[0m",
    "\x1b[1;38;2;200;100;0;48;5;17m",
    "\x1b[?25l",
    "\x1b[2K\x1b[1G",
    "\x1b(B",
    "\x1bM",
    "\x1b]0;a title with ümläuts\x07",
    "\x1b]8;;https://example.org/a/long/address?with=many&words=in&it\x1b\\",
    "\x1bP1$r0m\x1b\\",
    "x",
    "word ",
    "é",
    "€",
    "💥",
    "\n",
)
TEXTS = st.lists(st.sampled_from(UNITS), min_size=1, max_size=60)
GAP = re.compile(rb"\n?\[supervisor: (\d+) bytes dropped\]\n")


def boundaries(units: list[str]) -> set[int]:
    """Where a text may be cut, in bytes."""
    found, at = {0}, 0
    for unit in units:
        if not unit.startswith("\x1b"):
            found |= {at + len(unit[:n].encode()) for n in range(len(unit))}
        elif unit == "\x1b[2K\x1b[1G":
            found.add(at + 4)
        at += len(unit.encode())
        found.add(at)
    return found


@settings(max_examples=300, deadline=None)
@given(TEXTS, st.integers(0, 2000))
def test_head_ends_and_tail_begins_at_a_boundary(units: list[str], at: int) -> None:
    data = "".join(units).encode()
    at = min(at, len(data))
    head, tail = head_end(data[:at]), tail_start(data, at)
    assert head <= at <= tail
    assert {head, tail} <= boundaries(units)


@settings(max_examples=300, deadline=None)
@given(TEXTS, st.integers(1, 300), st.integers(1, 400))
def test_error_detail_begins_at_a_boundary(units: list[str], limit: int, json_limit: int) -> None:
    data = "".join(units).encode()
    end = tail_of(data, is_cut=False, limit_bytes=limit, json_limit_bytes=json_limit)
    assert len(data) - end.stream_bytes in boundaries(units)
    assert end.text.encode() == data[len(data) - end.stream_bytes :]


@settings(max_examples=200, deadline=None)
@given(TEXTS, st.integers(1, 30), st.integers(1024, 1400), st.integers(1, 97))
def test_log_is_cut_at_boundaries_and_counted_exactly(
    units: list[str], repeats: int, limit: int, step: int
) -> None:
    units = units * repeats
    data = "".join(units).encode()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "log")
        log = BoundedLog(str(path), limit, None)
        for at in range(0, len(data), step):
            log.feed(data[at : at + step])
        log.close()
        kept = path.read_bytes()
    assert len(kept) <= limit
    assert log.seen_bytes == len(data)
    kept.decode()
    if len(data) <= limit:
        assert kept == data
        return
    gap = GAP.search(kept)
    assert gap is not None
    head, tail = kept[: gap.start()], kept[gap.end() :]
    assert log.kept_bytes == len(data) - int(gap[1])
    begin = len(data) - len(tail)
    assert data.startswith(head)
    assert data.endswith(tail)
    assert begin in boundaries(units)
    assert {len(head), log.kept_bytes - len(tail)} & boundaries(units)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=3000), st.integers(0, 3000), st.integers(4, 1024))
def test_garbage_costs_no_more_than_the_limit(data: bytes, at: int, limit: int) -> None:
    at = min(at, len(data))
    assert at - limit <= head_end(data[:at], limit) <= at
    assert at <= tail_start(data, at, limit) <= at + limit


def test_end_of_a_log_with_dropped_bytes_is_not_joined_to_its_head(
    tmp_path: Path,
) -> None:
    log = BoundedLog(str(tmp_path / "log"), 1024, None)
    log.feed(b"first" + b"x" * 5000 + b"last")
    end = log.end(8192)
    log.close()
    assert b"first" not in end
    assert end.endswith(b"xlast")

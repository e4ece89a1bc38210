"""The matrix of faults is whole: every row is covered by a test that names it, or says why not."""

import re
from pathlib import Path

from tests.faults.rows import IMPOSSIBLE, ROWS

TESTS = Path(__file__).parents[2]
MARK = re.compile(r"\bfault\(([^)]*)\)")


def marked() -> set[str]:
    """The rows that any test file names in a mark."""
    found: set[str] = set()
    for folder in ("tests", "stress"):
        for path in (TESTS / folder).rglob("test_*.py"):
            for names in MARK.findall(path.read_text()):
                found |= set(re.findall(r'"([A-Z]\d+)"', names))
    return found


def test_every_mark_names_a_row() -> None:
    assert marked() <= set(ROWS)


def test_no_row_is_dropped_and_only_rows_are_impossible() -> None:
    assert len(ROWS) >= 133
    assert set(IMPOSSIBLE) <= set(ROWS)
    assert not marked() & set(IMPOSSIBLE), "a row that is covered is possible"

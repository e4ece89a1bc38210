"""Frozen classes are made by the cheap way: a start makes more than a hundred."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted(
    path
    for folder in ("supervisor", "workers")
    for path in (ROOT / folder).rglob("*.py")
    if "@dataclass(frozen=True" in path.read_text()
)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_frozen_class_is_made_by_our_own_dataclass(path: Path) -> None:
    found = re.findall(r"^from (\S+) import .*\bdataclass\b", path.read_text(), re.M)
    assert found == ["workers.records.dataclass"]

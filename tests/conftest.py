"""What all tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.root import Root, root_in


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Root]:
    """A root with quick settings; everything started from it is gone afterwards."""
    with root_in(tmp_path / "root") as made:
        yield made

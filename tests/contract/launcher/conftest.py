"""A bench for each launcher."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.launcher.kinds import KINDS, Bench


@pytest.fixture(params=list(KINDS))
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    """A root with one launcher; everything started from it is gone afterwards."""
    with KINDS[request.param](tmp_path) as made:
        yield made

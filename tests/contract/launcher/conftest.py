"""A bench for each launcher."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.launcher.kinds import KINDS, Bench, close_scheduler

# Daemons take their time: with these, the suite is one for .ci/long.
_SLOW = {"slurm": pytest.mark.slow}


@pytest.fixture(scope="session", autouse=True)
def _scheduler() -> Iterator[None]:
    """The scheduler that the tests of this process share ends with its last test."""
    yield
    close_scheduler()


@pytest.fixture(params=[pytest.param(kind, marks=_SLOW.get(kind, ())) for kind in KINDS])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    """A root with one launcher; everything started from it is gone afterwards."""
    with KINDS[request.param](tmp_path) as made:
        yield made

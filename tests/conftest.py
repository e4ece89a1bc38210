"""What all tests share."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.root import Root, root_in

# A shell that starts us in the background lets us ignore INT, and so would all that we start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Root]:
    """A root with quick settings; everything started from it is gone afterwards."""
    with root_in(tmp_path / "root") as made:
        yield made

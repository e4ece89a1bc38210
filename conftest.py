"""The rule that a test marked ``alone`` runs alone, for ``pytest -n``.

The processes of pytest-xdist run tests under a shared lock, those marked ``alone`` under an
exclusive one. No timeout and no duration of a test includes the wait for the lock.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Move the tests marked ``alone`` to the end, so that no other test waits for them."""
    items.sort(key=_is_alone)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Run a test when its lock is free."""
    with _lock(fcntl.LOCK_EX if _is_alone(item) else fcntl.LOCK_SH):
        return (yield)


def _is_alone(item: pytest.Item) -> bool:
    return item.get_closest_marker("alone") is not None


@contextmanager
def _lock(kind: int) -> Iterator[None]:
    with open(__file__, "rb") as file:
        fcntl.flock(file, kind)
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)

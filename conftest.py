"""How ``pytest -n`` shares the tests among processes.

A test marked ``alone`` runs alone: the processes of pytest-xdist run tests under a shared lock,
those marked ``alone`` under an exclusive one. No timeout and no duration of a test includes the
wait for the lock. The tests of a group share something costly and run in one process. pytest-xdist
has a mark for that (``xdist_group``), which has no effect with pytest 9.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

# How the node ids of a group begin and end, and what its tests share.
GROUPS = (
    ("stress/test_chaos.py", ""),  # one chaos
    ("stress/test_stress.py", ""),  # one round of the harness
    ("tests/contract/launcher/test_contract.py", "[dask]"),  # one scheduler of Dask
)


class GroupScheduling(LoadScopeScheduling):  # type: ignore[misc]
    """Gives a process one test at a time, or one group; large groups first."""

    def _split_scope(self, nodeid: str) -> str:
        for begin, end in GROUPS:
            if nodeid.startswith(begin) and nodeid.endswith(end):
                return begin
        return nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> GroupScheduling:  # noqa: ANN401
    """Share the tests by group, whatever ``--dist`` says."""
    return GroupScheduling(config, log)


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

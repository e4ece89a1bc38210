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


# What ``-m quick`` selects: an answer in less than a minute.
QUICK = (
    "tests/unit/",
    "tests/architecture/",
    "tests/contract/test_corpus.py",
    "tests/contract/worker/test_stages.py",
)
NOT_QUICK = (  # thousands of examples, fresh interpreters, or processes that are waited for
    "tests/architecture/test_alone.py",
    "tests/unit/benches/",
    "tests/unit/config/test_config_cache.py",
    "tests/unit/records/test_json_indent.py",
    "tests/unit/report/test_run_tree.py",
    "tests/unit/report/test_timing.py",
    "tests/unit/workers/test_capture.py",
    "tests/unit/workers/test_error_file.py",
    "tests/unit/workers/test_safe_boundaries.py",
    "tests/unit/workers/test_truncate.py",
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
    """Mark the quick tests; move those marked ``alone`` to the end, so that none waits for them."""
    for item in items:
        if item.nodeid.startswith(QUICK) and not item.nodeid.startswith(NOT_QUICK):
            item.add_marker("quick")
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

"""No process outlives the test that started it."""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.worker import work
from tests.root import alive


@pytest.fixture(autouse=True)
def _reap(tmp_path: Path) -> Iterator[None]:
    yield
    while work.STARTED:
        process = work.STARTED.pop()
        process.kill()
        process.communicate()
    for pid in alive(f"SUPERVISED_ROOT={tmp_path}"):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

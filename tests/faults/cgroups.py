"""A cgroup (version 1) of a controller, made for one test and removed after it."""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.root import wait_until


@contextlib.contextmanager
def cgroup(controller: str, name: str) -> Iterator[Path]:
    """Make a group; skips the test where this cannot be done. Its processes are killed at the end.

    Args:
        controller: freezer, memory, pids.
        name: part of the group's name.
    """
    group = Path("/sys/fs/cgroup", controller, f"pipeline-supervisor-{os.getpid()}-{name}")
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no cgroup can be made here: {error}")
    try:
        yield group
    finally:
        if controller == "freezer":
            (group / "freezer.state").write_text("THAWED")

        def is_removed() -> bool:
            for pid in (group / "cgroup.procs").read_text().split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            with contextlib.suppress(OSError):
                group.rmdir()
            return not group.exists()

        wait_until(is_removed, "the group is removed")

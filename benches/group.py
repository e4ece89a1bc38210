"""A cgroup of one's own: it counts the CPU of all that ran in it, whoever waits for whom."""

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

REMOVE_S = 30.0
ROOTS = (  # version 1 with its controller, version 2 alone, version 2 beside version 1
    (Path("/sys/fs/cgroup/cpuacct"), "cpuacct.usage"),
    (Path("/sys/fs/cgroup"), "cpu.stat"),
    (Path("/sys/fs/cgroup/unified"), "cpu.stat"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """One cgroup.

    Attributes:
        path: its directory.
        counter: the file in it that counts.
    """

    path: Path
    counter: str

    def enter(self) -> None:
        """Move the calling process into it."""
        (self.path / "cgroup.procs").write_text("0")

    def cpu_s(self) -> float:
        """CPU of all that ran in it, in seconds."""
        text = (self.path / self.counter).read_text()
        if self.counter == "cpuacct.usage":
            return int(text) / 1e9
        return int(text.partition("usage_usec ")[2].split()[0]) / 1e6

    def remove(self) -> None:
        """Remove it: nothing runs in it any more; the last leaves a moment after it is reaped."""
        until = time.monotonic() + REMOVE_S
        while True:
            try:
                return self.path.rmdir()
            except OSError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.01)


def make_group() -> Group | None:
    """Make one; None where we may not."""
    for root, counter in ROOTS:
        path = root / f"bench-{os.getpid()}-{time.monotonic_ns()}"
        if not (root / "cgroup.procs").exists():
            continue
        with contextlib.suppress(OSError):
            path.mkdir()
            if (path / counter).exists() and os.access(path / "cgroup.procs", os.W_OK):
                return Group(path=path, counter=counter)
            path.rmdir()
    return None

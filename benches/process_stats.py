"""Statistics of a process: memory, CPU, descriptors, and the run of a worker."""

import os
from collections.abc import Iterable
from pathlib import Path


def pss_bytes(pids: Iterable[int]) -> int:
    """Proportional set size of processes: shared memory counts in parts."""
    return sum(_rollup(pid, "Pss") for pid in pids)


def own_bytes(pid: int) -> int:
    """Memory that only this process maps."""
    return _rollup(pid, "Private_Dirty") + _rollup(pid, "Private_Clean")


def _rollup(pid: int, key: str) -> int:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(text.partition(f"\n{key}:")[2].split()[0]) * 1024


def peak_bytes(pid: int) -> int:
    """The peak memory of a process."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition("VmHWM:")[2].split()[0]) * 1024


def cpu_s(pid: int) -> float:
    """CPU in seconds, exact to the ns; ticks of 10 ms are too coarse for idle processes."""
    total = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        total += int(Path(f"/proc/{pid}/task/{thread}/schedstat").read_text().split()[0])
    return total / 1e9


def descriptors_count(pid: int) -> int:
    """The number of open descriptors."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def worker_of(pid: int) -> Path | None:
    """The run directory of a worker; None for any other process."""
    try:
        argv = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return None
    if argv[1:3] != [b"-m", b"workers"] or len(argv) < 4:
        return None
    return Path(os.fsdecode(argv[3]))

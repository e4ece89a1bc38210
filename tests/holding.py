"""Runs whose stage waits for a file called go, and notes that it began."""

import os
from pathlib import Path

from tests.root import LAUNCHER, Root, alive, wait_until
from workers.records.proc import proc_stat

HOLD = '[pipelines.hold]\nstages = [{ id = "s", command = "echo $SUPERVISED_RUN_ID >> ran; '
HOLD += 'while ! test -e go; do sleep 0.05; done; echo done" }]\n'


def holding(root: Root, count: int, settings: str = "", launcher: str = LAUNCHER) -> None:
    """Write a batch whose runs wait for a file called go."""
    root.configure(HOLD, settings, launcher)
    root.write("batch.toml", f'[[runs]]\npipeline = "hold"\ncount = {count}\n')


def ran(root: Root) -> list[str]:
    """The run ids whose stage began, once for each time."""
    path = root.path / "ran"
    return path.read_text().split() if path.exists() else []


def workers(root: Root) -> list[int]:
    """The living workers of a root, by pid."""
    return sorted(alive(f"workers\0{root.path}"))


def worker_of(run_id: str) -> int:
    """The worker of one run."""
    (pid,) = alive(f"cli/{run_id}\0--owner-fd")
    return pid


def kill_supervisor(root: Root, count: int) -> None:
    """Kill a supervisor while so many runs are under way."""
    holding(root, count)
    process = root.popen("start", "--once", "--batch", "batch.toml")
    wait_until(lambda: len(ran(root)) == count, "all stages run")
    process.kill()
    root.finish(process)


def adopted(root: Root) -> int:
    """How many runs supervisors of this root have adopted."""
    return [line["event"] for line in root.log()].count("run_adopted")


def zygotes_of(pid: int) -> list[int]:
    """The zygotes that a supervisor has as living children."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        stat = proc_stat(int(name))
        if stat is None or stat.ppid != pid or stat.has_ended:
            continue
        if Path(f"/proc/{name}/comm").read_text() == "zygote\n":
            found.append(int(name))
    return found

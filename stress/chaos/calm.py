"""The calm phase: a supervisor must use no more resources after many runs than after few."""

import os
import time
from dataclasses import dataclass

from stress.chaos.pipelines import TASK
from stress.chaos.world import Process, World

ROUND_RUNS_COUNT = 3
_RSS_GROWTH_KIB = 8 * 1024  # the newest 1,000 lines of the state are loaded over time
_DEADLINE_S = 120.0


@dataclass(frozen=True, slots=True)
class Held:
    """Resources of a process."""

    descriptors_count: int
    threads_count: int
    rss_kib: int
    zombies_count: int


def measure(found: Process) -> Held:
    """Measure a process, which must be alive."""
    with open(f"/proc/{found.pid}/status", encoding="ascii", errors="replace") as file:
        status = dict(line.rstrip("\n").split(":", 1) for line in file)
    zombies_count = 0
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    state, ppid = file.read().rpartition(b") ")[2].split()[:2]
            except OSError:
                continue
            zombies_count += int(ppid) == found.pid and state == b"Z"
    return Held(
        descriptors_count=len(os.listdir(f"/proc/{found.pid}/fd")),
        threads_count=int(status["Threads"]),
        rss_kib=int(status["VmRSS"].split()[0]),
        zombies_count=zombies_count,
    )


def run_calmly(world: World) -> tuple[list[Held], list[str]]:
    """Serve three rounds of runs with one supervisor and measure it after each.

    Returns:
        Its resources after each round, and the problems.
    """
    world.kill_all()
    world.command("start", serving=True)
    held: list[Held] = []
    for _ in range(3):
        clients = [world.command("submit", "quick") for _ in range(ROUND_RUNS_COUNT)]
        for client in clients:
            client.process.wait(_DEADLINE_S)
        world.collect()
        if not _await_idle(world):
            return held, [f"a calm supervisor did not end its runs within {_DEADLINE_S:g} s"]
        (found,) = world.processes("supervisor")
        held.append(measure(found))
    return held, list(_grown(held))


def _await_idle(world: World) -> bool:
    until = time.monotonic() + _DEADLINE_S
    layout = world.layout
    while time.monotonic() < until:
        if os.path.exists(layout.state(TASK)):  # so the directories exist
            waiting = [*os.listdir(layout.accepted), *os.listdir(layout.inbox)]
            if not waiting and not world.processes("worker"):
                return True
        time.sleep(0.05)
    return False


def _grown(held: list[Held]) -> list[str]:
    # The first round may still open and load things that are needed once.
    before, after = held[1], held[2]
    found = []
    if after.descriptors_count > before.descriptors_count:
        found.append(f"descriptors: {before.descriptors_count}, then {after.descriptors_count}")
    if after.threads_count > before.threads_count:
        found.append(f"threads: {before.threads_count}, then {after.threads_count}")
    if after.rss_kib > before.rss_kib + _RSS_GROWTH_KIB:
        found.append(f"memory: {before.rss_kib} KiB, then {after.rss_kib} KiB")
    if after.zombies_count:
        found.append(f"{after.zombies_count} zombies were not reaped")
    return found

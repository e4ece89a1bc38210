"""An engine for tests: it starts attempts as detached children of this host.

Files in a directory are its whole configuration, and set its faults:

    slots       the number of attempts at once; more wait in its queue, which dies with it
    twice       start every attempt a second time
    lose        forget the next attempt, and report its end
    refuse      refuse; with the content "transient" another try may help
    mute        do not report ends
    elsewhere   start workers that believe to be on another host; the content is its name
"""

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from supervisor.launchers.agents.agent import main
from supervisor.launchers.agents.protocol import (
    AgentReady,
    Answer,
    Cancel,
    JobEnded,
    Note,
    Place,
    Placed,
    Refused,
)

PLACE = "LOOPBACK"
ELSEWHERE = """
import sys
from workers.records import identity
identity.host_name = lambda: sys.argv[1]
identity.boot_id = lambda: "00000000" + sys.argv[1]
from workers.entry import keeper
keeper.boot_id = identity.boot_id
from workers.__main__ import main
sys.exit(main(["workers", *sys.argv[2:]]))
"""


class Loopback:
    """The engine."""

    every_s = 0.05

    def __init__(self, place: Path) -> None:
        (place / "seen").write_text("")
        self._place = place
        self._queue: dict[str, Place] = {}
        self._jobs: dict[str, subprocess.Popen[bytes]] = {}
        self._said_ready = False

    def fileno(self) -> int | None:
        return None

    def place(self, order: Place) -> Iterable[Answer]:
        refuse = self._place / "refuse"
        if refuse.exists():
            yield Refused(order.key, "not today", "transient" in refuse.read_text())
            return
        if (self._place / "lose").exists():
            (self._place / "lose").unlink()
            yield JobEnded(order.key, "it was lost")
            return
        self._queue[order.key] = order
        yield Placed(order.key, f"job-{order.attempt}")

    def cancel(self, order: Cancel) -> Iterable[Answer]:
        if self._queue.pop(order.key, None) is not None or order.key not in self._jobs:
            yield JobEnded(order.key, "cancelled")

    def poll(self) -> Iterable[Answer]:
        if not self._said_ready:
            self._said_ready = True
            yield AgentReady()
            yield Note(f"loopback is {os.getpid()}")
        for key, job in list(self._jobs.items()):
            if job.poll() is not None:
                del self._jobs[key]
                if not (self._place / "mute").exists():
                    yield JobEnded(key, f"exit {job.returncode}")
        while self._queue and len(self._jobs) < self._slots():
            key = next(iter(self._queue))
            order = self._queue.pop(key)
            self._jobs[key] = self._start(order)
            if (self._place / "twice").exists():
                both = (self._jobs[key], self._start(order))
                codes = sorted(job.wait() for job in both)
                (self._place / "both").write_text(f"{codes}")

    def _slots(self) -> int:
        try:
            return int((self._place / "slots").read_text())
        except FileNotFoundError:
            return 1000

    def _start(self, order: Place) -> "subprocess.Popen[bytes]":
        words = [sys.executable, "-I", "-m", "workers", order.run_dir]
        elsewhere = self._place / "elsewhere"
        if elsewhere.exists():
            words = [sys.executable, "-I", "-c", ELSEWHERE, elsewhere.read_text(), order.run_dir]
        with (self._place / "jobs.log").open("ab") as log:
            return subprocess.Popen(
                [*words, "--claim", str(order.attempt)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def close(self) -> None:
        """Jobs are children; they go on without us."""


def make(_: Mapping[str, Any]) -> Loopback:
    return Loopback(Path(os.environ[PLACE]))


if __name__ == "__main__":
    sys.exit(main(sys.argv, make))

"""Finding and ending everything that a stage starts.

The worker is a child subreaper: a process that daemonizes, double forks or changes its session
becomes the worker's child when its parent ends. So nothing of a stage is left once the worker has
no child, and what is left can be found by walking down from the worker. While several stages run,
``stage_members`` finds the processes of one.
"""

import os
import signal
import time
from typing import Final

from workers.processes.stage_members import of_stage
from workers.processes.tree import Process, descendants, kill_all, kill_group
from workers.records.identity import send_signal

GIVE_UP_S: Final = 10.0  # fault P28: what survives SIGKILL this long is recorded and left
KILL_EVERY_S: Final = 0.05
_REAP_LIMIT_COUNT: Final = 10_000  # per call: a fork storm must not keep the worker busy


class Containment:
    """Ends the processes below the worker until only those are left that cannot be killed.

    Args:
        run_id: the run; its processes have the id in their environment.
    """

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self._given_up: set[Process] = set()
        self._leaders: dict[str, int] = {}
        self._awaited: set[int] = set()

    def begin(self, stage_id: str, leader_pid: int) -> None:
        """Add a running stage and its first process, whose status the caller will take."""
        self._leaders[stage_id] = leader_pid
        self._awaited.add(leader_pid)

    def leader_ended(self, stage_id: str) -> None:
        """Note that the status of the stage's first process was taken."""
        self._awaited.discard(self._leaders[stage_id])

    def end(self, stage_id: str) -> None:
        """Remove a stage; does nothing after ``end_all``."""
        self._awaited.discard(self._leaders.pop(stage_id, 0))

    def living(self, stage_id: str) -> list[Process]:
        """Every living process of a stage except those that were given up."""
        if self._is_alone(stage_id):
            processes = descendants(os.getpid())
        else:
            processes = of_stage(stage_id, self._leaders, self._run_id)
        return [process for process in processes if process not in self._given_up]

    def _is_alone(self, stage_id: str) -> bool:
        """Whether every process below the worker belongs to this stage."""
        return not (self._leaders.keys() - {stage_id})

    def is_empty(self, stage_id: str) -> bool:
        """Whether nothing of a stage is left. Zombies count: reap them first."""
        if not self._is_alone(stage_id):
            return not self.living(stage_id)
        try:
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return True
        return bool(self._given_up) and not self.living(stage_id)

    def reap_orphans(self) -> None:
        """Reap every zombie child except those whose status a stage still needs."""
        for _ in range(_REAP_LIMIT_COUNT):
            try:
                child = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                if child is None or child.si_pid in self._awaited:
                    return  # it hides others until it is reaped, which is soon
                os.waitpid(child.si_pid, os.WNOHANG)
            except ChildProcessError:
                return

    def terminate(self, stage_id: str) -> list[int]:
        """Send SIGTERM to every process of a stage, and SIGCONT so that stopped ones can obey.

        Returns:
            Their pids. A process that changes its parent at this moment may be missed.
        """
        processes = self.living(stage_id)
        for pid, ticks in processes:
            send_signal(pid, ticks, signal.SIGTERM)
            send_signal(pid, ticks, signal.SIGCONT)
        return [pid for pid, _ in processes]

    def kill(self, leader_fd: int | None, stage_id: str) -> list[int]:
        """Kill a stage's process group at once, then every other process, see ``kill_all``.

        Args:
            leader_fd: pidfd of the group's leader, which may have ended.
            stage_id: the stage.

        Returns:
            The pids of the processes that were found.
        """
        if leader_fd is not None:
            kill_group(leader_fd)
        return [pid for pid, _ in kill_all(lambda: self.living(stage_id))]

    def give_up(self, stage_id: str) -> list[int]:
        """Stop waiting for the living processes of a stage; returns their pids."""
        alive = self.living(stage_id)
        self._given_up.update(alive)
        return [pid for pid, _ in alive]

    def given_up_pids(self) -> list[int]:
        """The processes that were given up and are still alive."""
        if not self._given_up:
            return []
        return sorted({pid for pid, _ in self._given_up.intersection(descendants(os.getpid()))})

    def end_all(self, grace_s: float) -> None:
        """Terminate everything, wait for the grace, then kill until nothing is left or give up."""
        self._leaders.clear()
        self._awaited.clear()
        kill_at = time.monotonic() + grace_s
        give_up_at = kill_at + GIVE_UP_S
        self.terminate("")
        while True:
            self.reap_orphans()
            if self.is_empty(""):
                return
            now = time.monotonic()
            if now >= give_up_at:
                self.give_up("")
                return
            if now >= kill_at:
                self.kill(None, "")
            time.sleep(KILL_EVERY_S / 5)

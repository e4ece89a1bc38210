"""Keeping hold of everything that a stage starts.

The worker is a child subreaper: whatever daemonizes, double forks or changes its session comes back
to it when its parent ends. So the proof that nothing of a stage is left is that the worker has no
child at all, and what is left can be found by walking down from it. Beside other stages, what is
this one's has to be told apart (``belonging``).
"""

import os
import signal
import time
from typing import Final

from workers.processes.stage_members import of_stage
from workers.processes.tree import Process, descendants, kill_all, kill_group
from workers.records.identity import send_signal

GIVE_UP_S: Final = 10.0  # fault P28: what survives SIGKILL this long is listed and left
KILL_EVERY_S: Final = 0.05
_REAP_LIMIT_COUNT: Final = 10_000  # at once; a fork storm must not keep us from looking up


class Containment:
    """Ends what is below us, until nothing is left but what cannot be killed.

    Args:
        run_id: of the run; its processes have it in their environment.
    """

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self._given_up: set[Process] = set()
        self._leaders: dict[str, int] = {}
        self._awaited: set[int] = set()

    def begin(self, stage_id: str, leader_pid: int) -> None:
        """A stage is on, led by a child whose status it is going to take itself."""
        self._leaders[stage_id] = leader_pid
        self._awaited.add(leader_pid)

    def leader_ended(self, stage_id: str) -> None:
        """The status of its leader was taken."""
        self._awaited.discard(self._leaders[stage_id])

    def end(self, stage_id: str) -> None:
        """Nothing more of the stage is waited for; no news where everything was ended."""
        self._awaited.discard(self._leaders.pop(stage_id, 0))

    def living(self, stage_id: str) -> list[Process]:
        """Every living process of a stage, save those that were given up."""
        if self._is_alone(stage_id):
            found = descendants(os.getpid())
        else:
            found = of_stage(stage_id, self._leaders, self._run_id)
        return [process for process in found if process not in self._given_up]

    def _is_alone(self, stage_id: str) -> bool:
        """Tell whether everything below us is this stage's."""
        return not (self._leaders.keys() - {stage_id})

    def is_empty(self, stage_id: str) -> bool:
        """Tell whether nothing of a stage is left. Zombies count: reap them first."""
        if not self._is_alone(stage_id):
            return not self.living(stage_id)
        try:
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return True
        return bool(self._given_up) and not self.living(stage_id)

    def reap_orphans(self) -> None:
        """Reap every zombie child but those whose status a stage still wants."""
        for _ in range(_REAP_LIMIT_COUNT):
            try:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                if found is None or found.si_pid in self._awaited:
                    return  # it hides others until it is reaped, which is soon
                os.waitpid(found.si_pid, os.WNOHANG)
            except ChildProcessError:
                return

    def ask_to_end(self, stage_id: str) -> list[int]:
        """SIGTERM to every process of a stage, and SIGCONT so that what is stopped can obey.

        Returns:
            The pids that were found. One that changes its parent at this moment may be missed.
        """
        found = self.living(stage_id)
        for pid, ticks in found:
            send_signal(pid, ticks, signal.SIGTERM)
            send_signal(pid, ticks, signal.SIGCONT)
        return [pid for pid, _ in found]

    def kill(self, leader_fd: int | None, stage_id: str) -> list[int]:
        """Kill every process of a stage, its group at once, for the rest see ``kill_all``.

        Args:
            leader_fd: pidfd of the process that leads the stage's group, also when it has ended.
            stage_id: the stage.

        Returns:
            The pids that were found.
        """
        if leader_fd is not None:
            kill_group(leader_fd)
        return [pid for pid, _ in kill_all(lambda: self.living(stage_id))]

    def give_up(self, stage_id: str) -> list[int]:
        """Count no more on the end of what is alive of a stage; returns its pids."""
        alive = self.living(stage_id)
        self._given_up.update(alive)
        return [pid for pid, _ in alive]

    def given_up_pids(self) -> list[int]:
        """Those that were given up and are alive to this hour."""
        if not self._given_up:
            return []
        return sorted({pid for pid, _ in self._given_up.intersection(descendants(os.getpid()))})

    def end_all(self, grace_s: float) -> None:
        """Terminate, wait for the grace, kill, look again, until empty or given up. Waits."""
        self._leaders.clear()
        self._awaited.clear()
        kill_at = time.monotonic() + grace_s
        give_up_at = kill_at + GIVE_UP_S
        self.ask_to_end("")
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

"""Run one round: start the supervisor, interfere with it, wait for it with a deadline."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from stress.interference import Gate, LockHolder, NotReached
from stress.outside import Outside, processes_of, slowest_last_manifest_s, tracebacks_in
from stress.scenario import BATCH, TASK, Plan
from workers.records.identity import send_signal
from workers.records.layout import Layout
from workers.records.proc import proc_stat

KEEPERS_S: Final = 5.0  # a keeper records the end of its worker and exits
_POLL_EVERY_S: Final = 0.02


@dataclass(slots=True)
class Round:
    """One round.

    Args:
        plan: the runs and the interference.
        layout: the root, configured.
        side: a directory next to the root for the supervisor's own output.
        deadline_s: for the whole round, in seconds.
        trouble: called once all gated stages wait, to break other processes; afterwards the
            supervisor is killed and started again.
    """

    plan: Plan
    layout: Layout
    side: str
    deadline_s: float
    trouble: Callable[[], None] | None = None
    _until: float = 0.0
    _gate: Gate | None = None
    _holder: LockHolder | None = None
    _supervisor: "subprocess.Popen[bytes] | None" = None
    _problems: list[str] = field(default_factory=list)

    def run(self) -> Outside:
        """Run the round; no process of it is left when this returns or raises."""
        self._until = time.monotonic() + self.deadline_s
        try:
            self._prepare()
            owed_before, lines_before = self._logged("snapshot_owed"), self._history_count()
            self._supervisor = self._start()
            try:
                self._interfere(owed_before, lines_before)
            except NotReached as missed:
                self._problems.append(str(missed))
            self._release()
            code = self._await_supervisor()
            if self.trouble is not None and code == 0:
                code = self.plan.exit_code  # the killed supervisor may have seen the failure
            left = self._left_alive()
            said = [os.path.join(self.side, "stderr"), self.layout.control + "/workers.log"]
            return Outside(
                exit_code=code,
                problems=(*self._problems, *tracebacks_in(said)),
                left_alive=tuple(left),
                slowest_manifest_s=slowest_last_manifest_s(self.layout, TASK),
            )
        finally:
            self._end_everything()

    def _prepare(self) -> None:
        os.makedirs(self.layout.runs, 0o700, exist_ok=True)
        lock = self.layout.state_lock(TASK)
        if self.plan.leftover_lock and not os.path.exists(lock):
            fd = os.open(lock, os.O_WRONLY | os.O_CREAT, 0o600)
            os.write(fd, b"4711\n")
            os.close(fd)
        if self.plan.gated_count:
            self._gate = Gate(self.layout.root)

    def _start(self) -> "subprocess.Popen[bytes]":
        clean = {key: value for key, value in os.environ.items() if not key.startswith("SUPERVIS")}
        env = {**clean, "XDG_CONFIG_HOME": self.side}
        argv = ["start", "--once", "--batch", BATCH]
        with (
            open(os.path.join(self.side, "stdout"), "ab") as out,
            open(os.path.join(self.side, "stderr"), "ab") as err,
        ):
            return subprocess.Popen(
                [sys.executable, "-m", "supervisor", *argv],
                cwd=self.layout.root,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )

    def _interfere(self, owed_before: int, lines_before: int) -> None:
        plan = self.plan
        if self.trouble is not None:
            self._await(self._all_wait, "all gated stages wait")
            self.trouble()
            if self._supervisor is not None:
                self._supervisor.kill()
                self._supervisor.wait()
            self._supervisor = self._start()
        if plan.lock_held:
            self._await(lambda: self._history_count() > lines_before, "a first run ends")
            self._holder = LockHolder(self.layout.state_lock(TASK))
            if not self._holder.holds(self._left_s()):
                raise NotReached("the lock holder did not get the task's lock")
        gate = self._gate
        if gate is not None:
            self._await(self._all_wait, "all gated stages wait")
            gate.open()
        if plan.lock_held:
            self._await(
                lambda: self._logged("snapshot_owed") > owed_before, "a snapshot becomes owed"
            )
            self._await(self._owed_is_shown, "a manifest shows the owed snapshot")

    def _all_wait(self) -> bool:
        return self._gate is None or self._gate.waiting_count() >= self.plan.gated_count

    def _await(self, true: Callable[[], bool], what: str) -> None:
        """Wait for a condition; NotReached if the supervisor exits or the deadline passes."""
        while not true():
            if self._supervisor is None or self._supervisor.poll() is not None:
                if true():
                    return
                raise NotReached(f"the supervisor exited before {what}")
            if time.monotonic() >= self._until:
                raise NotReached(f"not within {self.deadline_s:g} s: {what}")
            time.sleep(_POLL_EVERY_S)

    def _left_alive(self) -> list[int]:
        """Processes that outlive the supervisor; keepers started by an engine get a few seconds."""
        until = time.monotonic() + (0.0 if self.trouble is None else KEEPERS_S)
        while (left := processes_of(self.layout.root)) and time.monotonic() < until:
            time.sleep(_POLL_EVERY_S)
        return left

    def _release(self) -> None:
        """Open the gate and release the lock."""
        if self._gate is not None:
            self._gate.open()
        if self._holder is not None:
            self._holder.release()

    def _left_s(self) -> float:
        return max(1.0, self._until - time.monotonic())

    def _await_supervisor(self) -> int | None:
        if self._supervisor is None:
            return None
        try:
            return self._supervisor.wait(self._left_s())
        except subprocess.TimeoutExpired:
            self._problems.append(f"the supervisor did not exit within {self.deadline_s:g} s")
            return None

    def _end_everything(self) -> None:
        self._release()
        if self._supervisor is not None and self._supervisor.poll() is None:
            self._supervisor.kill()
            self._supervisor.wait()
        until = time.monotonic() + 10.0  # a killed process ends at once, or never
        while (left := processes_of(self.layout.root)) and time.monotonic() < until:
            for pid in left:
                stat = proc_stat(pid)
                if stat is not None:
                    send_signal(pid, stat.start_ticks, signal.SIGKILL)
            time.sleep(_POLL_EVERY_S)

    def _history_count(self) -> int:
        try:
            with open(self.layout.history(TASK), "rb") as file:
                return file.read().count(b"\n")
        except FileNotFoundError:
            return 0

    def _logged(self, word: str) -> int:
        try:
            with open(self.layout.log, encoding="utf-8") as file:
                return sum(f'"{word}"' in line for line in file)
        except FileNotFoundError:
            return 0

    def _owed_is_shown(self) -> bool:
        for name in os.listdir(self.layout.runs_of(TASK)):
            with open(self.layout.run_dir(TASK, name).manifest, encoding="utf-8") as file:
                warnings = json.load(file)["extensions"]["warnings"]
            if any(warning.get("code") == "snapshot_owed" for warning in warnings):
                return True
        return False

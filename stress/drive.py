"""Runs one round: starts the supervisor, meddles while it works, waits for it with a deadline."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from stress.meddle import Gate, Hog, Missed
from stress.outside import Outside, processes_of, slowest_last_manifest_s, tracebacks_in
from stress.scenario import BATCH, TASK, Plan
from workers.records.identity import send_signal
from workers.records.layout import Layout
from workers.records.proc import proc_stat

KEEPERS_S: Final = 5.0  # it only tells that its worker has ended, and ends
_LOOK_EVERY_S: Final = 0.02


@dataclass(slots=True)
class Round:
    """One round.

    Args:
        plan: what to do.
        layout: the root, configured.
        side: a directory beside the root for the supervisor's own output.
        deadline_s: for the whole round, in seconds.
        trouble: called once all gated stages wait; breaks what is beside the supervisor, which is
            killed and started again behind it.
    """

    plan: Plan
    layout: Layout
    side: str
    deadline_s: float
    trouble: Callable[[], None] | None = None
    _until: float = 0.0
    _gate: Gate | None = None
    _hog: Hog | None = None
    _supervisor: "subprocess.Popen[bytes] | None" = None
    _problems: list[str] = field(default_factory=list)

    def run(self) -> Outside:
        """Run it; everything that was started is gone when this returns or raises."""
        self._until = time.monotonic() + self.deadline_s
        try:
            self._prepare()
            owed_before, lines_before = self._logged("snapshot_owed"), self._history_count()
            self._supervisor = self._start()
            try:
                self._meddle(owed_before, lines_before)
            except Missed as missed:
                self._problems.append(str(missed))
            self._release()
            code = self._await_supervisor()
            if self.trouble is not None and code == 0:
                code = self.plan.exit_code  # the one that was killed may have seen what failed
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
        words = ["start", "--once", "--batch", BATCH]
        with (
            open(os.path.join(self.side, "stdout"), "ab") as out,
            open(os.path.join(self.side, "stderr"), "ab") as err,
        ):
            return subprocess.Popen(
                [sys.executable, "-m", "supervisor", *words],
                cwd=self.layout.root,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )

    def _meddle(self, owed_before: int, lines_before: int) -> None:
        plan = self.plan
        if self.trouble is not None:
            self._await(self._all_wait, "all gated stages wait")
            self.trouble()
            if self._supervisor is not None:
                self._supervisor.kill()
                self._supervisor.wait()
            self._supervisor = self._start()
        if plan.hogged:
            self._await(lambda: self._history_count() > lines_before, "a first run ends")
            self._hog = Hog(self.layout.state_lock(TASK))
            if not self._hog.holds(self._left_s()):
                raise Missed("the hog did not get the task's lock")
        gate = self._gate
        if gate is not None:
            self._await(self._all_wait, "all gated stages wait")
            gate.open()
        if plan.hogged:
            self._await(
                lambda: self._logged("snapshot_owed") > owed_before, "a snapshot becomes owed"
            )
            self._await(self._owed_is_shown, "a manifest shows the owed snapshot")

    def _all_wait(self) -> bool:
        return self._gate is None or self._gate.waiting_count() >= self.plan.gated_count

    def _await(self, true: Callable[[], bool], what: str) -> None:
        """Wait until something is so; Missed where the supervisor leaves or time ends before."""
        while not true():
            if self._supervisor is None or self._supervisor.poll() is not None:
                if true():
                    return
                raise Missed(f"the supervisor left before {what}")
            if time.monotonic() >= self._until:
                raise Missed(f"not within {self.deadline_s:g} s: {what}")
            time.sleep(_LOOK_EVERY_S)

    def _left_alive(self) -> list[int]:
        """What outlives the supervisor; a keeper that an engine started may just be ending."""
        until = time.monotonic() + (0.0 if self.trouble is None else KEEPERS_S)
        while (left := processes_of(self.layout.root)) and time.monotonic() < until:
            time.sleep(_LOOK_EVERY_S)
        return left

    def _release(self) -> None:
        """Let go of gate and lock; the hog ends with its stdin."""
        if self._gate is not None:
            self._gate.open()
        if self._hog is not None:
            self._hog.release()

    def _left_s(self) -> float:
        return max(1.0, self._until - time.monotonic())

    def _await_supervisor(self) -> int | None:
        if self._supervisor is None:
            return None
        try:
            return self._supervisor.wait(self._left_s())
        except subprocess.TimeoutExpired:
            self._problems.append(f"the supervisor did not leave within {self.deadline_s:g} s")
            return None

    def _end_everything(self) -> None:
        self._release()
        if self._supervisor is not None and self._supervisor.poll() is None:
            self._supervisor.kill()
            self._supervisor.wait()
        until = time.monotonic() + 10.0  # a killed process is gone at once, or never
        while (left := processes_of(self.layout.root)) and time.monotonic() < until:
            for pid in left:
                stat = proc_stat(pid)
                if stat is not None:
                    send_signal(pid, stat.start_ticks, signal.SIGKILL)
            time.sleep(_LOOK_EVERY_S)

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

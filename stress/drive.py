"""Runs one round: starts the supervisor, meddles while it works, waits for it with a deadline."""

import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from stress.outside import Outside, processes_of, slowest_last_manifest_s
from stress.scenario import ARRIVED, BATCH, GATE, TASK, Plan
from workers.records.identity import proc_stat, send_signal
from workers.records.layout import Layout

_LOOK_EVERY_S: Final = 0.02
_HOG: Final = (
    "import fcntl, os, sys; fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600); "
    "fcntl.flock(fd, fcntl.LOCK_EX); print('held', flush=True); sys.stdin.read()"
)


class Missed(Exception):
    """What was waited for did not come."""


@dataclass(slots=True)
class Round:
    """One round.

    Args:
        plan: what to do.
        layout: the root, configured.
        side: a directory beside the root for the supervisor's own output.
        deadline_s: for the whole round, in seconds.
    """

    plan: Plan
    layout: Layout
    side: str
    deadline_s: float
    _until: float = 0.0
    _gate_fd: int | None = None
    _hog: "subprocess.Popen[bytes] | None" = None
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
            left = processes_of(self.layout.root)
            return Outside(
                exit_code=code,
                problems=(*self._problems, *self._tracebacks()),
                left_alive=tuple(left),
                slowest_manifest_s=slowest_last_manifest_s(self.layout, TASK),
            )
        finally:
            self._end_everything()

    def _prepare(self) -> None:
        root = self.layout.root
        os.makedirs(self.layout.runs, 0o700, exist_ok=True)
        lock = self.layout.state_lock(TASK)
        if self.plan.leftover_lock and not os.path.exists(lock):
            fd = os.open(lock, os.O_WRONLY | os.O_CREAT, 0o600)
            os.write(fd, b"4711\n")
            os.close(fd)
        if self.plan.gated_count:
            os.makedirs(os.path.join(root, ARRIVED), exist_ok=True)
            for name in os.listdir(os.path.join(root, ARRIVED)):
                os.unlink(os.path.join(root, ARRIVED, name))
            gate = os.path.join(root, GATE)
            if os.path.lexists(gate):
                os.unlink(gate)
            os.mkfifo(gate, 0o600)
            # Held open for both: who reads waits, without polling, until we let go of it.
            self._gate_fd = os.open(gate, os.O_RDWR | os.O_CLOEXEC)

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
        if plan.hogged:
            self._await(lambda: self._history_count() > lines_before, "a first run ends")
            self._hog = self._take_lock()
        if plan.gated_count:
            arrived = os.path.join(self.layout.root, ARRIVED)
            self._await(
                lambda: len(os.listdir(arrived)) >= plan.gated_count, "all gated stages wait"
            )
            self._open_gate()
        if plan.hogged:
            self._await(
                lambda: self._logged("snapshot_owed") > owed_before, "a snapshot becomes owed"
            )
            self._await(self._owed_is_shown, "a manifest shows the owed snapshot")

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

    def _take_lock(self) -> "subprocess.Popen[bytes]":
        hog = subprocess.Popen(
            [sys.executable, "-I", "-c", _HOG, self.layout.state_lock(TASK)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._hog = hog
        fd = -1 if hog.stdout is None else hog.stdout.fileno()
        left_s = max(0.0, self._until - time.monotonic())
        ready, _, _ = select.select([fd], [], [], left_s)
        if not ready or os.read(fd, 16) != b"held\n":
            raise Missed("the hog did not get the task's lock")
        return hog

    def _open_gate(self) -> None:
        """Let every waiting stage go at once; who comes late finds an empty plain file."""
        if self._gate_fd is None:
            return
        gate = os.path.join(self.layout.root, GATE)
        os.close(os.open(f"{gate}.open", os.O_WRONLY | os.O_CREAT, 0o600))
        os.rename(f"{gate}.open", gate)
        os.close(self._gate_fd)
        self._gate_fd = None

    def _release(self) -> None:
        """Let go of gate and lock; the hog ends with its stdin."""
        self._open_gate()
        if self._hog is not None:
            self._hog.communicate(timeout=max(1.0, self._until - time.monotonic()))
            self._hog = None

    def _await_supervisor(self) -> int | None:
        if self._supervisor is None:
            return None
        try:
            return self._supervisor.wait(max(1.0, self._until - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._problems.append(f"the supervisor did not leave within {self.deadline_s:g} s")
            return None

    def _end_everything(self) -> None:
        if self._gate_fd is not None:
            os.close(self._gate_fd)
        for process in (self._hog, self._supervisor):
            if process is not None and process.poll() is None:
                process.kill()
                process.wait()
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

    def _tracebacks(self) -> list[str]:
        with open(os.path.join(self.side, "stderr"), encoding="utf-8", errors="replace") as file:
            said = [line.strip() for line in file if line.startswith("Traceback")]
        return ["the supervisor printed a traceback"] if said else []


def lease_is_free(layout: Layout) -> bool:
    """Tell whether no supervisor holds the root any more."""
    try:
        fd = os.open(layout.lease_lock, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
    return True

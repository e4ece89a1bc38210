"""One try of a command stage: start it, keep its output, end it in time, leave nothing alive.

One loop with a deadline for everything. A stage is over when its own process has ended *and* the
worker has no child left; what its process leaves behind is terminated, killed after a short grace,
and counted.
"""

import os
import select
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from workers import containment
from workers.capture import Pipe
from workers.control import Control
from workers.launch import NotStarted, launch
from workers.records.limits import LEFTOVER_GRACE_S

GIVE_UP_S: Final = 10.0  # faults.md P28: what survives SIGKILL this long is listed and left
KILL_EVERY_S: Final = 0.05
LOOK_EVERY_S: Final = 1.0  # a child's end rings the bell; this is for what it forgot
REFRESH_S: Final = 0.25  # how old the end of a running stage's log may be, for who follows it


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What one try needs.

    Attributes:
        deadline_mono_s: when it is timed out, None for never.
        refresh_s: how often the logs' ends are brought up to date.
    """

    argv: tuple[str, ...]
    cwd: str
    env: Mapping[str, str]
    deadline_mono_s: float | None
    grace_s: float
    refresh_s: float


@dataclass(slots=True)
class Ending:
    """How one try ended.

    Attributes:
        exit_code: None where a signal ended it or it never started.
        signal: the signal's name, None where it exited.
        reason: None for an exit of its own accord, else timed-out, cancelled, or why not started.
        message: more about the reason.
        leftover_count: processes that it left behind and that had to be ended.
        leftover_pids: those that could not be killed.
        output_incomplete: somebody still held a stream open.
    """

    exit_code: int | None = None
    signal: str | None = None
    reason: str | None = None
    message: str | None = None
    duration_s: float = 0.0
    peak_rss_bytes: int = 0
    cpu_s: float = 0.0
    leftover_count: int = 0
    leftover_pids: list[int] = field(default_factory=list)
    output_incomplete: bool = False


class Try:
    """Runs one try.

    Args:
        work: what to run.
        control: what may end the run from outside.
        stdout: the pipe of its output; ``stderr`` likewise.
    """

    def __init__(self, work: Work, control: Control, stdout: Pipe, stderr: Pipe) -> None:
        self._work = work
        self._control = control
        self._pipes = {pipe.read_fd: pipe for pipe in (stdout, stderr)}
        self._ending = Ending()
        self._poll = select.poll()
        self._pid = 0
        self._exited = False
        self._kill_at: float | None = None
        self._give_up_at = 0.0
        self._look_at = 0.0

    def run(self) -> Ending:
        """Run it to its end; never raises for what a stage does."""
        began = time.monotonic()
        pipes = list(self._pipes.values())
        child = launch(
            self._work.argv,
            cwd=self._work.cwd,
            env=self._work.env,
            stdout_fd=pipes[0].write_fd,
            stderr_fd=pipes[1].write_fd,
        )
        for pipe in pipes:
            pipe.close_write()
        if isinstance(child, NotStarted):
            self._ending.reason, self._ending.message = child.reason, child.message
            return self._ending
        self._pid = child.pid
        child.returncode = 0  # we reap it ourselves: Popen must neither wait nor warn
        self._poll.register(self._control.bell_fd, select.POLLIN)
        for fd in self._pipes:
            self._poll.register(fd, select.POLLIN)
        self._loop()
        self._drain()
        self._ending.duration_s = round(time.monotonic() - began, 3)
        return self._ending

    def _loop(self) -> None:
        buffer = bytearray(65_536)
        while True:
            rang = False
            for fd, _ in self._poll.poll(self._wait_ms()):
                pipe = self._pipes.get(fd)
                if pipe is None:
                    rang = True
                elif not pipe.pump(buffer) and pipe.ended:
                    self._poll.unregister(fd)
            now = time.monotonic()
            self._refresh(now)
            if rang or self._kill_at is not None or now >= self._look_at:
                self._look_at = now + LOOK_EVERY_S
                self._control.look()  # first: a child that ends from now on rings anew
                self._reap()
            if self._advance(now):
                return

    def _wait_ms(self) -> float:
        """How long nothing can fall due, in milliseconds."""
        now = time.monotonic()
        due = [self._look_at]
        if self._work.deadline_mono_s is not None and self._kill_at is None:
            due.append(self._work.deadline_mono_s)
        if self._kill_at is not None:
            due.append(self._kill_at)
            due.append(now + KILL_EVERY_S)
        due += [
            pipe.refreshed_mono_s + self._work.refresh_s
            for pipe in self._pipes.values()
            if pipe.log.dirty
        ]
        return max(0.0, min(due) - now) * 1000

    def _refresh(self, now: float) -> None:
        for pipe in self._pipes.values():
            if pipe.log.dirty and now - pipe.refreshed_mono_s >= self._work.refresh_s:
                pipe.refreshed_mono_s = now
                pipe.log.refresh()

    def _reap(self) -> None:
        if not self._exited:
            try:
                pid, status, usage = os.wait4(self._pid, os.WNOHANG)
            except ChildProcessError:
                self._exited = True
                self._ending.reason = "exit-status-unknown"
                return
            if pid:
                self._exited = True
                code = os.waitstatus_to_exitcode(status)
                self._ending.exit_code = code if code >= 0 else None
                self._ending.signal = signal.Signals(-code).name if code < 0 else None
                self._ending.peak_rss_bytes = usage.ru_maxrss * 1024
                self._ending.cpu_s = round(usage.ru_utime + usage.ru_stime, 3)
        containment.reap_orphans(self._pid if not self._exited else 0)

    def _advance(self, now: float) -> bool:
        """Take the next decision; True when the try is over."""
        if self._exited and not containment.has_children():
            return True
        detail = self._control.detail
        if self._kill_at is None:
            if self._exited:
                self._ending.leftover_count = len(containment.descendants())
                self._end(now, min(LEFTOVER_GRACE_S, self._work.grace_s))
            elif detail is not None:
                self._ending.reason = "cancelled"
                self._end(now, self._work.grace_s)
            elif self._work.deadline_mono_s is not None and now >= self._work.deadline_mono_s:
                self._ending.reason = "timed-out"
                self._end(now, self._work.grace_s)
            return False
        if now >= self._kill_at:
            alive = containment.kill_all()
            self._kill_at = now + KILL_EVERY_S
            if now >= self._give_up_at:
                self._ending.leftover_pids = alive
                return True
        return False

    def _end(self, now: float, grace_s: float) -> None:
        containment.ask_to_end()
        self._kill_at = now + grace_s
        self._give_up_at = self._kill_at + GIVE_UP_S

    def _drain(self) -> None:
        """Take what is still in the pipes; nobody of ours can write any more."""
        buffer = bytearray(65_536)
        for pipe in self._pipes.values():
            while pipe.pump(buffer):
                pass
            if not pipe.ended:
                self._ending.output_incomplete = True

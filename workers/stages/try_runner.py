"""One try of a command stage: start it, keep its output, end it in time, leave nothing alive.

Each wait has a deadline for everything. A stage is over when its own process has ended *and*
nothing of it is left: no child of the worker, or, beside other stages, none that is this one's.
What its process leaves behind is terminated, killed after a short grace, and counted.
"""

import functools
import mmap
import os
import resource  # noqa: F401 - os.wait4 imports it when it is first called: once, before a fork
import time
from collections.abc import Mapping
from dataclasses import field
from typing import Final

from workers.output.pipe import Pipe
from workers.processes.containment import GIVE_UP_S, KILL_EVERY_S, Containment
from workers.processes.oom import raise_stage_score
from workers.processes.spawn import NotStarted, spawn
from workers.records.dataclass import dataclass
from workers.records.identity import signal_name
from workers.records.limits import LEFTOVER_GRACE_S, READ_BUFFER_BYTES
from workers.stages.control import Control
from workers.stages.scheduler import StageTask, WaitUntil

START_TRIES_COUNT: Final = 4  # as the supervisor's of a worker (fault P10): 0.5 + 1 + 2 s
START_DELAY_S: Final = 0.5
LOOK_EVERY_S: Final = 60.0  # a child's end rings the bell; this is for what it forgot
REFRESH_S: Final = 0.25  # how old the end of a running stage's log may be, for who follows it
DRAIN_S: Final = 0.5  # a pipe holds 1 MiB; more than that comes from somebody who will not end
# Many small writes would wake us for each. While they come, let 2 ms of them gather in the pipe. A
# stage that fills the pipe of 1 MiB sooner must not wait for us: half a millisecond lets it write
# 2 GB/s, and most of what gathers is discarded unread.
GATHER_S: Final = 0.002
GATHER_BELOW_BYTES: Final = 32_768
FLOOD_GATHER_S: Final = 0.0005
FLOOD_BELOW_BYTES: Final = 131_072


@dataclass(frozen=True, slots=True, kw_only=True)
class TryCommand:
    """What one try needs.

    Attributes:
        stage_id: whose processes are whose, where stages run side by side.
        deadline_mono_s: when it is timed out, None for never.
        refresh_s: how often the logs' ends are brought up to date.
    """

    stage_id: str
    argv: tuple[str, ...]
    cwd: str
    env: Mapping[str, str]
    nice: int
    deadline_mono_s: float | None
    grace_s: float
    refresh_s: float


@dataclass(slots=True)
class ProcessResult:
    """How one try ended.

    Attributes:
        exit_code: None where a signal ended it or it never started.
        signal: the signal's name, None where it exited.
        reason: None for an exit of its own accord, else timed-out, cancelled, or why not started.
        message: more about the reason.
        leftover_count: processes that it left behind and that had to be ended.
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


class TryRunner:
    """Runs one try.

    Args:
        work: what to run.
        control: what may end the run from outside.
        containment: what ends everything that it starts.
        stdout: the pipe of its output; ``stderr`` likewise.
    """

    def __init__(
        self,
        work: TryCommand,
        control: Control,
        containment: Containment,
        stdout: Pipe,
        stderr: Pipe,
    ) -> None:
        self._work = work
        self._control = control
        self._containment = containment
        self._pipes = {pipe.read_fd: pipe for pipe in (stdout, stderr)}
        self._buffer = _buffer()
        self._ending = ProcessResult()
        self._fds: tuple[int, ...] = tuple(self._pipes)
        self._pid = 0
        self._pidfd: int | None = None
        self._exited = False
        self._counts_leftovers = False
        self._leftovers: set[int] = set()
        self._kill_at: float | None = None
        self._give_up_at = 0.0
        self._look_at = 0.0

    def run(self) -> StageTask[ProcessResult]:
        """Run it to its end; never raises for what a stage does."""
        began = time.monotonic()
        stdout, stderr = self._pipes.values()
        child = yield from self._start(stdout.write_fd, stderr.write_fd)
        stdout.close_write()
        stderr.close_write()
        if isinstance(child, NotStarted):
            self._ending.reason, self._ending.message = child.reason, child.message
            return self._ending
        raise_stage_score(child)
        self._pid = child
        self._look_at = began + LOOK_EVERY_S
        self._containment.begin(self._work.stage_id, child)
        try:
            self._watch()
            yield from self._loop()
        finally:
            self._containment.end(self._work.stage_id)
            if self._pidfd is not None:
                os.close(self._pidfd)
        self._drain()
        self._ending.leftover_count = len(self._leftovers)
        self._ending.duration_s = round(time.monotonic() - began, 3)
        return self._ending

    def _start(self, stdout_fd: int, stderr_fd: int) -> StageTask[int | NotStarted]:
        """Start its process; what the system refuses for the moment is tried again a few times."""
        delay_s = START_DELAY_S
        for left in reversed(range(START_TRIES_COUNT)):
            child = spawn(
                self._work.argv,
                cwd=self._work.cwd,
                env=self._work.env,
                stdout_fd=stdout_fd,
                stderr_fd=stderr_fd,
                nice=self._work.nice,
            )
            if isinstance(child, int) or not (child.transient and left):
                break
            until = time.monotonic() + delay_s
            while time.monotonic() < until:
                yield WaitUntil(until)
                if self._control.detail is not None:
                    return NotStarted("cancelled", "cancelled before it could be started")
            delay_s *= 2
        return child

    def _watch(self) -> None:
        try:
            self._pidfd = os.pidfd_open(self._pid)  # proven: nobody but us reaps it
        except OSError:
            self._pidfd = None  # no descriptor left; the bell rings at its end all the same
        else:
            self._fds += (self._pidfd,)

    def _loop(self) -> StageTask[None]:
        while True:
            came = yield WaitUntil(self._due(), self._fds)
            rang, size = came.rang, 0
            for fd in came.fds:
                pipe = self._pipes.get(fd)
                if pipe is None:
                    rang = True
                else:
                    size += pipe.pump(self._buffer)
                    if pipe.ended:
                        self._forget(fd)
            if 0 < size < FLOOD_BELOW_BYTES and not rang:
                wait_s = GATHER_S if size < GATHER_BELOW_BYTES else FLOOD_GATHER_S
                rang = (yield WaitUntil(time.monotonic() + wait_s)).rang
            now = time.monotonic()
            for pipe in self._pipes.values():
                pipe.refresh(now, self._work.refresh_s)
            if rang or self._kill_at is not None or now >= self._look_at:
                self._look_at = now + LOOK_EVERY_S
                self._reap()
            if self._advance(now):
                return

    def _forget(self, fd: int) -> None:
        self._fds = tuple(other for other in self._fds if other != fd)

    def _due(self) -> float:
        """When something can fall due at the earliest."""
        now = time.monotonic()
        due = [self._look_at]
        if self._kill_at is not None:
            due += [max(self._kill_at, now + KILL_EVERY_S / 5)]
        elif self._work.deadline_mono_s is not None:
            due.append(self._work.deadline_mono_s)
        due += [
            pipe.refreshed_mono_s + self._work.refresh_s
            for pipe in self._pipes.values()
            if pipe.log.dirty
        ]
        return min(due)

    def _reap(self) -> None:
        if not self._exited:
            try:
                pid, status, usage = os.wait4(self._pid, os.WNOHANG)
            except ChildProcessError:
                self._ended()
                self._ending.reason = self._ending.reason or "exit-status-unknown"
                return
            if pid:
                self._ended()
                code = os.waitstatus_to_exitcode(status)
                self._ending.exit_code = code if code >= 0 else None
                self._ending.signal = signal_name(-code) if code < 0 else None
                self._ending.peak_rss_bytes = usage.ru_maxrss * 1024
                self._ending.cpu_s = round(usage.ru_utime + usage.ru_stime, 3)
        self._containment.reap_orphans()

    def _ended(self) -> None:
        self._exited = True
        self._containment.leader_ended(self._work.stage_id)
        if self._pidfd is not None:
            self._forget(self._pidfd)

    def _advance(self, now: float) -> bool:
        """Take the next decision; True when the try is over."""
        if self._exited and self._containment.is_empty(self._work.stage_id):
            return True
        if self._kill_at is None:
            if self._exited:
                left = self._containment.living(self._work.stage_id)
                self._leftovers.update(pid for pid, _ in left)
                self._leftovers.update(self._end(now, min(LEFTOVER_GRACE_S, self._work.grace_s)))
                self._counts_leftovers = True
            elif self._control.detail is not None:
                self._ending.reason = "cancelled"
                self._end(now, self._work.grace_s)
            elif self._work.deadline_mono_s is not None and now >= self._work.deadline_mono_s:
                self._ending.reason = "timed-out"
                self._end(now, self._work.grace_s)
        elif now >= self._kill_at:
            killed = self._containment.kill(self._pidfd, self._work.stage_id)
            if self._counts_leftovers:  # what changed its parent just before is found now
                self._leftovers.update(killed)
            self._kill_at = now + KILL_EVERY_S
            if now >= self._give_up_at:
                self._ending.leftover_pids = self._containment.give_up(self._work.stage_id)
                return True
        return False

    def _end(self, now: float, grace_s: float) -> list[int]:
        """Ask for the end, and set when it is forced; returns the pids that were asked."""
        self._kill_at = now + grace_s
        self._give_up_at = self._kill_at + GIVE_UP_S
        return self._containment.ask_to_end(self._work.stage_id)

    def _drain(self) -> None:
        """Take what is still in the pipes; nobody of ours can write any more."""
        until = time.monotonic() + DRAIN_S
        for pipe in self._pipes.values():
            while pipe.pump(self._buffer) and time.monotonic() < until:
                pass
            self._ending.output_incomplete |= not pipe.ended


@functools.lru_cache(maxsize=1)
def _buffer() -> memoryview:
    """Where output is read into; the kernel gives it memory when there is some."""
    return memoryview(mmap.mmap(-1, READ_BUFFER_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))

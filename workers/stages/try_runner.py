"""One try of a command stage: start it, capture its output, end it in time, leave nothing alive.

Every wait has a deadline. A try ends when its own process has ended *and* nothing of the stage is
left: no child of the worker or, while other stages run, none that belongs to this one. What
outlives its process is terminated, killed after a short grace, and counted.
"""

import functools
import mmap
import os
import resource  # noqa: F401 - os.wait4 imports it on its first call: do that before a fork
import time
from collections.abc import Mapping
from typing import Final

from workers.output.pipe import Pipe
from workers.processes.containment import GIVE_UP_S, KILL_EVERY_S, Containment
from workers.processes.process_attributes import raise_stage_score
from workers.processes.spawn import NotStarted, spawn
from workers.records.dataclass import dataclass
from workers.records.identity import signal_name
from workers.records.limits import LEFTOVER_GRACE_S, READ_BUFFER_BYTES
from workers.stages.control import Control
from workers.stages.results import ProcessResult
from workers.stages.scheduler import StageTask, WaitUntil

START_TRIES_COUNT: Final = 4  # as the supervisor's for a worker (fault P10): 0.5 + 1 + 2 s
START_DELAY_S: Final = 0.5
CHECK_EVERY_S: Final = 60.0  # the end of a child causes a wakeup; this is in case one is lost
REFRESH_S: Final = 0.25  # how old the end of a running stage's log may be for its readers
DRAIN_S: Final = 0.5  # a pipe holds 1 MiB; more comes from a process that never stops writing
# Many small writes would cause a wakeup each, so they gather in the pipe for 2 ms. A stage that
# fills the 1 MiB pipe sooner must not wait: 0.5 ms allows 2 GB/s, and most of it is discarded
# unread.
GATHER_S: Final = 0.002
GATHER_BELOW_BYTES: Final = 32_768
FLOOD_GATHER_S: Final = 0.0005
FLOOD_BELOW_BYTES: Final = 131_072


@dataclass(frozen=True, slots=True, kw_only=True)
class TryCommand:
    """What one try runs.

    Attributes:
        stage_id: identifies its processes while other stages run.
        deadline_mono_s: when it is timed out; None for never.
        refresh_s: how often the end of its logs is brought up to date.
    """

    stage_id: str
    argv: tuple[str, ...]
    cwd: str
    env: Mapping[str, str]
    nice: int
    deadline_mono_s: float | None
    grace_s: float
    refresh_s: float


class TryRunner:
    """Runs one try.

    Args:
        command: what to run.
        control: requests to end the run.
        containment: finds and ends the processes that it starts.
        stdout: the pipe of its output; ``stderr`` likewise.
    """

    def __init__(
        self,
        command: TryCommand,
        control: Control,
        containment: Containment,
        stdout: Pipe,
        stderr: Pipe,
    ) -> None:
        self._command = command
        self._control = control
        self._containment = containment
        self._pipes = {pipe.read_fd: pipe for pipe in (stdout, stderr)}
        self._buffer = _buffer()
        self._result = ProcessResult()
        self._fds: tuple[int, ...] = tuple(self._pipes)
        self._pid = 0
        self._pidfd: int | None = None
        self._exited = False
        self._counts_leftovers = False
        self._leftovers: set[int] = set()
        self._kill_at: float | None = None
        self._give_up_at = 0.0
        self._check_at = 0.0

    def run(self) -> StageTask[ProcessResult]:
        """Run it to its end; never raises for anything that a stage does."""
        began = time.monotonic()
        stage_id = self._command.stage_id
        stdout, stderr = self._pipes.values()
        child = yield from self._start(stdout.write_fd, stderr.write_fd)
        stdout.close_write()
        stderr.close_write()
        if isinstance(child, NotStarted):
            self._result.reason, self._result.message = child.reason, child.message
            return self._result
        raise_stage_score(child)
        self._pid = child
        self._check_at = began + CHECK_EVERY_S
        self._containment.begin(stage_id, child)
        try:
            self._watch()
            yield from self._loop()
        finally:
            self._containment.end(stage_id)
            if self._pidfd is not None:
                os.close(self._pidfd)
        self._drain()
        self._result.leftover_count = len(self._leftovers)
        self._result.duration_s = round(time.monotonic() - began, 3)
        return self._result

    def _start(self, stdout_fd: int, stderr_fd: int) -> StageTask[int | NotStarted]:
        """Start its process; transient refusals are retried up to START_TRIES_COUNT times."""
        delay_s = START_DELAY_S
        for left in reversed(range(START_TRIES_COUNT)):
            child = spawn(
                self._command.argv,
                cwd=self._command.cwd,
                env=self._command.env,
                stdout_fd=stdout_fd,
                stderr_fd=stderr_fd,
                nice=self._command.nice,
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
            self._pidfd = os.pidfd_open(self._pid)  # its pid is valid: only we reap it
        except OSError:
            self._pidfd = None  # no descriptor left; SIGCHLD still causes a wakeup at its end
        else:
            self._fds += (self._pidfd,)

    def _loop(self) -> StageTask[None]:
        while True:
            wakeup = yield WaitUntil(self._due(), self._fds)
            must_check, size = wakeup.signalled, 0
            for fd in wakeup.fds:
                pipe = self._pipes.get(fd)
                if pipe is None:
                    must_check = True
                else:
                    size += pipe.pump(self._buffer)
                    if pipe.ended:
                        self._stop_polling(fd)
            if 0 < size < FLOOD_BELOW_BYTES and not must_check:
                wait_s = GATHER_S if size < GATHER_BELOW_BYTES else FLOOD_GATHER_S
                must_check = (yield WaitUntil(time.monotonic() + wait_s)).signalled
            now = time.monotonic()
            for pipe in self._pipes.values():
                pipe.refresh(now, self._command.refresh_s)
            if must_check or self._kill_at is not None or now >= self._check_at:
                self._check_at = now + CHECK_EVERY_S
                self._reap()
            if self._advance(now):
                return

    def _stop_polling(self, fd: int) -> None:
        self._fds = tuple(other for other in self._fds if other != fd)

    def _due(self) -> float:
        """The earliest time at which something can be due."""
        due = [self._check_at]
        if self._kill_at is not None:
            due.append(max(self._kill_at, time.monotonic() + KILL_EVERY_S / 5))
        elif self._command.deadline_mono_s is not None:
            due.append(self._command.deadline_mono_s)
        due += [
            pipe.refreshed_mono_s + self._command.refresh_s
            for pipe in self._pipes.values()
            if pipe.log.dirty
        ]
        return min(due)

    def _reap(self) -> None:
        if not self._exited:
            try:
                pid, status, usage = os.wait4(self._pid, os.WNOHANG)
            except ChildProcessError:
                self._on_exit()
                self._result.reason = self._result.reason or "exit-status-unknown"
                return
            if pid:
                self._on_exit()
                code = os.waitstatus_to_exitcode(status)
                self._result.exit_code = code if code >= 0 else None
                self._result.signal = signal_name(-code) if code < 0 else None
                self._result.peak_rss_bytes = usage.ru_maxrss * 1024
                self._result.cpu_s = round(usage.ru_utime + usage.ru_stime, 3)
        self._containment.reap_orphans()

    def _on_exit(self) -> None:
        self._exited = True
        self._containment.leader_ended(self._command.stage_id)
        if self._pidfd is not None:
            self._stop_polling(self._pidfd)

    def _advance(self, now: float) -> bool:
        """Decide what to do next; True when the try has ended."""
        stage_id = self._command.stage_id
        if self._exited and self._containment.is_empty(stage_id):
            return True
        if self._kill_at is None:
            deadline = self._command.deadline_mono_s
            if self._exited:
                self._leftovers.update(pid for pid, _ in self._containment.living(stage_id))
                self._leftovers.update(
                    self._terminate(now, min(LEFTOVER_GRACE_S, self._command.grace_s))
                )
                self._counts_leftovers = True
            elif self._control.detail is not None:
                self._result.reason = "cancelled"
                self._terminate(now, self._command.grace_s)
            elif deadline is not None and now >= deadline:
                self._result.reason = "timed-out"
                self._terminate(now, self._command.grace_s)
        elif now >= self._kill_at:
            killed = self._containment.kill(self._pidfd, stage_id)
            if self._counts_leftovers:  # includes processes that changed their parent before
                self._leftovers.update(killed)
            self._kill_at = now + KILL_EVERY_S
            if now >= self._give_up_at:
                self._result.leftover_pids = self._containment.give_up(stage_id)
                return True
        return False

    def _terminate(self, now: float, grace_s: float) -> list[int]:
        """Terminate its processes and schedule the kill; returns their pids."""
        self._kill_at = now + grace_s
        self._give_up_at = self._kill_at + GIVE_UP_S
        return self._containment.terminate(self._command.stage_id)

    def _drain(self) -> None:
        """Read what is still in the pipes; no process of the stage can write any more."""
        until = time.monotonic() + DRAIN_S
        for pipe in self._pipes.values():
            while pipe.pump(self._buffer) and time.monotonic() < until:
                pass
            self._result.output_incomplete |= not pipe.ended


@functools.lru_cache(maxsize=1)
def _buffer() -> memoryview:
    """The buffer for reading output; the kernel allocates its memory on first use."""
    return memoryview(mmap.mmap(-1, READ_BUFFER_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))

"""One running hook: a process group of its own with bounded output and time.

It is polled and never waited for. Its stdin is the run's manifest file, so that no pipe has to be
filled. The end of its output is kept; secrets are masked before it is cut. When its first process
has exited, or at its timeout, the whole group is killed.
"""

import contextlib
import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from typing import Final

from workers.output.masking import Mask
from workers.processes.inherited import POPEN_FDS_COUNT, inherited_limits
from workers.processes.spawn import argv_of
from workers.processes.tree import Process, reason_alive
from workers.records.dataclass import dataclass
from workers.records.files import open_regular
from workers.records.identity import signal_name
from workers.records.proc import proc_stat

OUTPUT_LIMIT_BYTES: Final = 8192  # as much as an error file keeps of a stream
GRACE_S: Final = 2.0  # between terminate and kill
GIVE_UP_S: Final = 10.0  # as for a stage: a survivor of SIGKILL is reported and left
_PIPE_BYTES: Final = 1 << 20  # so that a hook can write on between two polls
_POLL_LIMIT_BYTES: Final = 4 << 20  # read at one poll; a full pipe slows a flood down


@dataclass(frozen=True, slots=True, kw_only=True)
class HookEnd:
    """How a hook ended.

    Attributes:
        status: "succeeded", "failed", "timed-out", "stopped" (by the supervisor's exit) or
            "not-started".
        reason: why it could not be started, or survives SIGKILL; None otherwise.
        output: the end of its stdout and stderr as they came, secrets masked.
        dropped_bytes: length of the output before that.
    """

    status: str
    exit_code: int | None = None
    signal: str | None = None
    duration_s: float = 0.0
    reason: str | None = None
    output: bytes = b""
    dropped_bytes: int = 0


class HookProcess:
    """A running hook.

    Args:
        command: a string for ``/bin/sh -c``, or an argv.
        cwd: its working directory.
        env: its whole environment.
        stdin_path: the file for its stdin.
        timeout_s: time limit in seconds.
        mask: masks secrets in its output, None if there are none.

    Raises:
        OSError, BadFileError: it could not be started.
    """

    def __init__(
        self,
        command: str | tuple[str, ...],
        *,
        cwd: str,
        env: Mapping[str, str],
        stdin_path: str,
        timeout_s: float,
        mask: Mask | None,
    ) -> None:
        self._mask = mask
        self._output = b""
        self._dropped_bytes = 0
        self._end_status = "timed-out"
        self._is_terminated = False
        self._pipe, theirs = os.pipe2(os.O_CLOEXEC)
        try:
            os.set_blocking(self._pipe, False)
            with contextlib.suppress(OSError):  # the limit of pipe memory is reached
                fcntl.fcntl(self._pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
            stdin = open_regular(stdin_path, os.O_RDONLY)
            try:
                with inherited_limits(POPEN_FDS_COUNT):
                    self._process = subprocess.Popen(
                        argv_of(command),
                        cwd=cwd,
                        env=dict(env),
                        stdin=stdin,
                        stdout=theirs,
                        stderr=theirs,
                        start_new_session=True,
                    )
            finally:
                os.close(stdin)
        except BaseException:
            os.close(self._pipe)
            raise
        finally:
            os.close(theirs)
        self._began = time.monotonic()
        self._until = self._began + timeout_s
        stat = proc_stat(self._process.pid)
        self.process: Process = (self._process.pid, 0 if stat is None else stat.start_ticks)

    def limit_wait(self, wait_s: float) -> None:
        """The supervisor is exiting: end the hook, as "stopped", if it runs longer than this."""
        until = time.monotonic() + wait_s
        if until < self._until and not self._is_terminated:
            self._until, self._end_status = until, "stopped"

    def poll(self) -> HookEnd | None:
        """Check it once; how it ended, if it has: then nothing of its group is left."""
        self._read()
        exited = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if exited is not None:
            self._kill(signal.SIGKILL)  # before its pid can be reused
            self._process.wait()
            self._read()
            if self._mask is not None:
                self._keep(self._mask.finish())
            os.close(self._pipe)
            return self._end(self._process.returncode)
        now = time.monotonic()
        if now >= self._until and not self._is_terminated:
            self._is_terminated = True
            self._kill(signal.SIGTERM)
        elif now >= self._until + GRACE_S + GIVE_UP_S:
            os.close(self._pipe)
            self._process.returncode = -signal.SIGKILL  # not waited for here; reaped as an orphan
            return self._end(None, reason_alive(self._process.pid))
        elif now >= self._until + GRACE_S:
            self._kill(signal.SIGKILL)
        return None

    def _kill(self, number: int) -> None:
        # A process that changed its user cannot be signalled: it is given up later.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def _read(self) -> None:
        read = 0
        with contextlib.suppress(BlockingIOError):
            while read < _POLL_LIMIT_BYTES and (part := os.read(self._pipe, 1 << 16)):
                read += len(part)
                self._keep(part if self._mask is None else self._mask.feed(part))

    def _keep(self, data: bytes) -> None:
        data = self._output + data
        self._dropped_bytes += max(0, len(data) - OUTPUT_LIMIT_BYTES)
        self._output = data[-OUTPUT_LIMIT_BYTES:]

    def _end(self, code: int | None, reason: str | None = None) -> HookEnd:
        status = "succeeded" if code == 0 else "failed"
        return HookEnd(
            status=self._end_status if self._is_terminated else status,
            exit_code=None if code is None or code < 0 else code,
            signal=signal_name(-code) if code is not None and code < 0 else None,
            reason=reason,
            duration_s=round(time.monotonic() - self._began, 3),
            output=self._output,
            dropped_bytes=self._dropped_bytes,
        )

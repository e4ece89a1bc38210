"""The keeper of one attempt: it claims the attempt, forks the worker and waits for it.

An engine starts it as ``python -m workers RUN_DIR --claim N``; the host of a caller's run forks it
(``caller_host``) before the supervisor has placed the run. It passes requests to end on to the
worker, kills what a killed worker leaves on this host (all of that becomes its child, because it is
the nearest subreaper), and records in the claim how the worker ended. It exits with the worker's
code.
"""

import contextlib
import os
import signal
import sys
import time
from typing import Final

from workers.entry.run_worker import BAD_USAGE, CANNOT_WRITE, NOT_OURS, exit_fork, run_to_verdict
from workers.processes.containment import Containment
from workers.processes.fork_protocol import HostClient
from workers.processes.process_attributes import become_subreaper, set_title
from workers.records.atomic import name_boot
from workers.records.caller import is_removed, remove_caller
from workers.records.claim import WORKER, ClaimFile, WorkerEnd, record_worker_end, take_claim
from workers.records.identity import boot_id, signal_name
from workers.records.layout import Layout, RunDir
from workers.records.placement import CALLER, read_placement
from workers.records.request import write_hint
from workers.records.typed_errors import TypedError
from workers.stages.control import STOP_SIGNALS, set_handlers

END_TRIES_COUNT: Final = 5
END_DELAY_S: Final = 0.2  # doubled each time: 3 s in all; then the worker's silence must do
FIRST_POLL_S: Final = 0.01  # the supervisor places a run with room within one turn
POLL_FACTOR: Final = 1.1
MAX_POLL_S: Final = 0.1  # as often as the caller itself polls for output: one stat each
_AWAITED: Final = (*STOP_SIGNALS, signal.SIGCHLD)


def run_keeper(run: RunDir, attempt: int) -> int:
    """Claim an attempt and run its worker.

    Args:
        run: its run's directory, by its real path.
        attempt: the attempt's number, from 1.

    Returns:
        The exit code: the worker's (128 plus the number of the signal that ended it), 75 if the
        attempt is claimed already, 2 if there is no such run, 73 if the disk refuses.
    """
    _prepare()
    try:
        os.stat(run.journal)
        fd = take_claim(run, attempt, by=WORKER, at_epoch_s=time.time())
    except (FileNotFoundError, NotADirectoryError) as error:
        print(f"worker: {error.filename}: {error.strerror}; it is no run", file=sys.stderr)
        return BAD_USAGE
    except OSError as error:
        print(f"worker: {run.claim(attempt)}: {error.strerror}", file=sys.stderr)
        return CANNOT_WRITE
    if fd is None:
        print(
            f"worker: {run.claim(attempt)} exists: attempt {attempt} was begun before or revoked; "
            "nothing to do here",
            file=sys.stderr,
        )
        return NOT_OURS
    return _run_worker(run, attempt, fd, host=None)


def run_caller_keeper(layout: Layout, run: RunDir, caller_fd: int, host: HostClient) -> int:
    """Wait until the supervisor places a caller's run, then claim the attempt and run its worker.

    Args:
        layout: the root.
        run: the run; it may not be accepted yet.
        caller_fd: the locked file that proves that the caller is alive; closed once the run has
            begun.
        host: hosts the runs of the worker's sub-pipelines.

    Returns:
        The worker's exit code, as ``run_keeper``; 75 if the run is not ours to begin any more, 73
        if the disk refuses.
    """
    _prepare()
    attempt = 0
    fd: int | None = None
    while fd is None:
        placed = _next_attempt(run, caller_fd, after=attempt)
        if placed is None:
            return NOT_OURS
        attempt = placed
        try:
            fd = take_claim(run, attempt, by=WORKER, at_epoch_s=time.time())
        except FileNotFoundError:
            return NOT_OURS
        except OSError as error:
            print(f"worker: {run.claim(attempt)}: {error.strerror}", file=sys.stderr)
            return CANNOT_WRITE
    remove_caller(layout, run.run_id)  # from now on the claim proves that the run has a host
    os.close(caller_fd)
    write_hint(layout, run.run_id)
    set_title(["workers", run.path, "--claim", str(attempt)], f"run {run.path[-8:]}")
    code = _run_worker(run, attempt, fd, host=host)
    write_hint(layout, run.run_id)
    return code


def _next_attempt(run: RunDir, caller_fd: int, *, after: int) -> int | None:
    """Wait for an attempt that is ours; None if there will be none, or on a stop signal."""
    poll_s = FIRST_POLL_S
    while not is_removed(caller_fd):
        with contextlib.suppress(OSError, TypedError):
            placed = read_placement(run.placement)
            if placed.launcher == CALLER and placed.attempt > after:
                return placed.attempt
        if signal.sigtimedwait((signal.SIGTERM, signal.SIGINT), poll_s) is not None:
            return None
        poll_s = min(poll_s * POLL_FACTOR, MAX_POLL_S)
    return None


def _prepare() -> None:
    """Block the signals that are awaited, and add the boot id to names of temporary files."""
    set_handlers()
    signal.pthread_sigmask(signal.SIG_BLOCK, _AWAITED)
    name_boot(boot_id())


def _run_worker(run: RunDir, attempt: int, fd: int, *, host: HostClient | None) -> int:
    """Fork the worker of a claimed attempt and wait for its end; returns the exit code."""
    become_subreaper()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        exit_fork(lambda: _work(run, attempt, fd, host))
    while True:
        number = signal.sigwait(_AWAITED)
        if number in (signal.SIGTERM, signal.SIGINT):
            os.kill(pid, signal.SIGTERM)  # the pid is valid: only we reap it
        status = _reap(pid)
        if status is not None:
            break
    code = os.waitstatus_to_exitcode(status)
    containment = Containment(run.run_id)
    containment.end_all(0.0)
    end = WorkerEnd(
        exit_code=code if code >= 0 else None,
        signal=signal_name(-code) if code < 0 else None,
        leftover_pids=tuple(containment.given_up_pids()),
    )
    _record_end(fd, end)
    return code if code >= 0 else 128 - code


def _work(run: RunDir, attempt: int, fd: int, host: HostClient | None) -> int:
    claim = ClaimFile.of(run.claim(attempt), fd)
    os.close(fd)
    return run_to_verdict(run, None, attempt=attempt, claim=claim, host=host)


def _reap(worker_pid: int) -> int | None:
    """Reap ended children, orphans included; the worker's status if it is among them."""
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if ended[0] == worker_pid:
                return ended[1]
    return None


def _record_end(fd: int, end: WorkerEnd) -> None:
    delay_s = END_DELAY_S
    for left in reversed(range(END_TRIES_COUNT)):
        try:
            record_worker_end(fd, end, at_epoch_s=time.time())
        except OSError as error:
            if not left:
                message = f"worker: its end could not be recorded: {error.strerror}"
                print(message, file=sys.stderr)
                return
            time.sleep(delay_s)
            delay_s *= 2
        else:
            return

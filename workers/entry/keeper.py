"""The keeper of one attempt: it claims the attempt, forks the worker and waits for it.

An engine starts it as ``python -m workers RUN_DIR --claim N``; the host of a caller's run forks it
(``caller_host``) before the supervisor has placed the run. It passes a request to end on to the
worker, kills what a killed worker leaves on this host, since all of that comes to it as the nearest
subreaper, and records in the claim how the worker ended. It exits with the worker's code.
"""

import contextlib
import os
import signal
import sys
import time
import traceback
from typing import Final, NoReturn

from workers.entry.run_worker import BAD_USAGE, BUG, CANNOT_WRITE, run_to_verdict
from workers.processes.containment import Containment
from workers.processes.libc import become_subreaper
from workers.processes.proctitle import set_title
from workers.records.atomic import name_boot
from workers.records.caller import is_removed, remove_caller
from workers.records.claim import WORKER, WorkerEnd, record_worker_end, take_claim
from workers.records.files import ClaimFile
from workers.records.identity import boot_id, signal_name
from workers.records.layout import Layout, RunDir
from workers.records.placement import CALLER, read_placement
from workers.records.request import write_hint
from workers.records.typed_errors import TypedError
from workers.stages.control import STOP_SIGNALS, set_handlers
from workers.stages.host_client import HostClient

SECOND: Final = 75  # as OwnedError
TELL_TRIES_COUNT: Final = 5
TELL_DELAY_S: Final = 0.2  # doubled each time: 3 s in all; then silence has to tell
FIRST_POLL_S: Final = 0.01  # a run that has room at once is placed within a turn of the supervisor
POLL_FACTOR: Final = 1.1
MAX_POLL_S: Final = 0.1  # as often as the caller itself looks for output: one stat each time
_HEARD: Final = (*STOP_SIGNALS, signal.SIGCHLD)


def run_keeper(run: RunDir, attempt: int) -> int:
    """Claim an attempt and see it through.

    Args:
        run: its run's directory, by its real path.
        attempt: which attempt, from 1.

    Returns:
        The exit code: the worker's (128 and the number of the signal that ended it), 75 if the
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
            f"worker: {run.claim(attempt)} is there: attempt {attempt} was begun before, or was "
            "taken back; nothing is done here",
            file=sys.stderr,
        )
        return SECOND
    return _see_through(run, attempt, fd, host=None)


def run_caller_keeper(layout: Layout, run: RunDir, caller_fd: int, host: HostClient) -> int:
    """Wait until the supervisor places a caller's run, claim the attempt and see it through.

    Args:
        layout: the root.
        run: the run, which need not be accepted yet.
        caller_fd: the locked file that says that we are there; it is closed once the run has begun.
        host: where the worker asks for the runs of its sub-pipelines to be hosted.

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
            return SECOND
        attempt = placed
        try:
            fd = take_claim(run, attempt, by=WORKER, at_epoch_s=time.time())
        except FileNotFoundError:
            return SECOND
        except OSError as error:
            print(f"worker: {run.claim(attempt)}: {error.strerror}", file=sys.stderr)
            return CANNOT_WRITE
    remove_caller(layout, run.run_id)  # from here on the claim tells that the run has a host
    os.close(caller_fd)
    write_hint(layout, run.run_id)
    set_title(["workers", run.path, "--claim", str(attempt)], f"run {run.path[-8:]}")
    code = _see_through(run, attempt, fd, host=host)
    write_hint(layout, run.run_id)
    return code


def _next_attempt(run: RunDir, caller_fd: int, *, after: int) -> int | None:
    """Wait for an attempt that is ours; None if there will be none, or if we are to end."""
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
    """Hear signals by waiting for them, and let temporary files name their boot."""
    set_handlers()
    signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD)
    name_boot(boot_id())


def _see_through(run: RunDir, attempt: int, fd: int, *, host: HostClient | None) -> int:
    """Fork the worker of a claimed attempt and wait for its end; returns the exit code."""
    become_subreaper()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        _be_worker(run, attempt, fd, host)
    return _stand_by(run, pid, fd)


def _be_worker(run: RunDir, attempt: int, fd: int, host: HostClient | None) -> NoReturn:
    """Run the run, as ``python -m workers`` does. Never returns."""
    code = BUG
    try:
        os.setsid()
        claim = ClaimFile.of(run.claim(attempt), fd)
        os.close(fd)
        code = run_to_verdict(run, None, attempt=attempt, claim=claim, host=host)
    except BaseException:  # noqa: BLE001 - what an interpreter of its own would print
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _stand_by(run: RunDir, pid: int, fd: int) -> int:
    """Wait for the worker, clear up after it, and tell; returns the exit code."""
    while True:
        heard = signal.sigwait(_HEARD)
        if heard in (signal.SIGTERM, signal.SIGINT):
            os.kill(pid, signal.SIGTERM)  # nobody but us reaps it, so it is still the one
        status = _ended(pid)
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
    _tell(fd, end)
    return code if code >= 0 else 128 - code


def _ended(pid: int) -> int | None:
    """The worker's status once it has ended; what was orphaned meanwhile is reaped."""
    with contextlib.suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            if found[0] == pid:
                return found[1]
    return None


def _tell(fd: int, end: WorkerEnd) -> None:
    delay_s = TELL_DELAY_S
    for left in reversed(range(TELL_TRIES_COUNT)):
        try:
            record_worker_end(fd, end, at_epoch_s=time.time())
        except OSError as error:
            if not left:
                print(f"worker: its end could not be told: {error.strerror}", file=sys.stderr)
                return
            time.sleep(delay_s)
            delay_s *= 2
        else:
            return

"""``python -m workers RUN_DIR --claim N``: an attempt that an engine has placed on this host.

The process that the engine started claims the attempt, forks the worker and stands by: it passes on
that the run is to end, kills what a killed worker leaves on this host, since all of that comes to
it as the nearest subreaper, and tells in the claim how the worker ended. It ends with its code.
"""

import contextlib
import os
import signal
import sys
import time
import traceback
from typing import Final, NoReturn

from workers import __main__ as program
from workers.containment import Containment
from workers.control import TAKEN, set_handlers
from workers.libc import become_subreaper
from workers.records.atomic import name_boot
from workers.records.claim import WORKER, WorkerEnd, take_claim, tell_ended
from workers.records.files import HeldFile
from workers.records.identity import boot_id, signal_name
from workers.records.layout import RunDir

SECOND: Final = 75  # as OwnedError
TELL_TRIES_COUNT: Final = 5
TELL_DELAY_S: Final = 0.2  # doubled each time: 3 s in all; then silence has to tell
_HEARD: Final = (*TAKEN, signal.SIGCHLD)


def keep(run: RunDir, attempt: int) -> int:
    """Claim an attempt and see it through.

    Args:
        run: its run's directory, by its real path.
        attempt: which attempt, from 1.

    Returns:
        The exit code: the worker's (128 and the number of the signal that ended it), 75 where the
        attempt is claimed already, 2 where there is no such run, 73 where the disk refuses.
    """
    set_handlers()
    signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD)
    name_boot(boot_id())
    try:
        os.stat(run.journal)
        fd = take_claim(run, attempt, by=WORKER, at_epoch_s=time.time())
    except (FileNotFoundError, NotADirectoryError) as error:
        print(f"worker: {error.filename}: {error.strerror}; it is no run", file=sys.stderr)
        return program.BAD_USAGE
    except OSError as error:
        print(f"worker: {run.claim(attempt)}: {error.strerror}", file=sys.stderr)
        return program.CANNOT_WRITE
    if fd is None:
        print(
            f"worker: {run.claim(attempt)} is there: attempt {attempt} was begun before, or was "
            "taken back; nothing is done here",
            file=sys.stderr,
        )
        return SECOND
    become_subreaper()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        _be_worker(run, attempt, fd)
    return _stand_by(run, pid, fd)


def _be_worker(run: RunDir, attempt: int, fd: int) -> NoReturn:
    """Run the run, as ``python -m workers`` does. Never returns."""
    code = program.BUG
    try:
        os.setsid()
        claim = HeldFile.of(run.claim(attempt), fd)
        os.close(fd)
        code = program.work(run, None, attempt=attempt, claim=claim)
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
            tell_ended(fd, end, at_epoch_s=time.time())
        except OSError as error:
            if not left:
                print(f"worker: its end could not be told: {error.strerror}", file=sys.stderr)
                return
            time.sleep(delay_s)
            delay_s *= 2
        else:
            return

"""Killing a supervisor at its n-th mutating call, in a process forked from this one.

The state on disk changes only at calls, so dying before each of them (and in the middle of each
write) reaches every state that a crash of the process can leave.
"""

import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from supervisor.cli import run

CALLS = (
    "write",
    "pwrite",
    "fsync",
    "fdatasync",
    "ftruncate",
    "rename",
    "unlink",
    "mkdir",
    "rmdir",
    "open",
)
DEADLINE_S = 60.0


class Mode(StrEnum):
    """Where the supervisor dies."""

    BEFORE = "before"
    AFTER = "after"
    TORN = "torn"


@dataclass(frozen=True, slots=True)
class Died:
    """How a supervisor ended: ``code`` None where it was killed at the chosen call."""

    code: int | None
    printed: str
    errors: str


def arm(number: int, mode: Mode) -> None:
    """From now on count mutating calls of this process, and die at the chosen one."""
    count = 0

    def wrap(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **rest: Any) -> Any:
            nonlocal count
            if name == "open" and not (len(args) > 1 and args[1] & os.O_CREAT):
                return real(*args, **rest)
            count += 1
            if count != number:
                return real(*args, **rest)
            if mode is Mode.TORN and name == "write":
                real(args[0], bytes(args[1])[: len(args[1]) // 2])
            elif mode is Mode.AFTER:
                real(*args, **rest)
            os.kill(os.getpid(), signal.SIGKILL)
            return None

        return call

    for name in CALLS:
        setattr(os, name, wrap(name, getattr(os, name)))


def supervise(root: Path, words: list[str], *, number: int = 0, mode: Mode = Mode.BEFORE) -> Died:
    """Run the command line in a child that dies at its ``number``-th mutating call; 0 for never."""
    out, err = root / "stdout.txt", root / "stderr.txt"
    pid = os.fork()
    if pid == 0:
        try:
            os.chdir(root)
            for target, path in ((1, out), (2, err)):
                os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), target)
            sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
            if number:
                arm(number, mode)
            code = run(words)
            sys.stdout.flush()
            sys.stderr.flush()
        except BaseException:  # noqa: BLE001 - the child must end here, and say why
            import traceback

            traceback.print_exc()
            os._exit(99)
        os._exit(code)
    until = time.monotonic() + DEADLINE_S
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            break
        if time.monotonic() > until:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise AssertionError(f"the supervisor did not end; stderr:\n{err.read_text()}")
        time.sleep(0.002)
    code = os.waitstatus_to_exitcode(status)
    return Died(None if code == -signal.SIGKILL else code, out.read_text(), err.read_text())

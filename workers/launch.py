"""Starting a stage's process, and telling apart why it could not be started."""

import errno
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NotStarted:
    """Why a stage has no process.

    Attributes:
        reason: command-not-found, not-executable, bad-cwd, argument-list-too-long, spawn-failed.
        message: for people.
    """

    reason: str
    message: str


def launch(
    argv: Sequence[str],
    *,
    cwd: str,
    env: Mapping[str, str],
    stdout_fd: int,
    stderr_fd: int,
) -> "subprocess.Popen[bytes] | NotStarted":
    """Start a process that leads its own group, with stdin from /dev/null and fds 0, 1, 2 only.

    Args:
        argv: the program, looked up in ``env``'s PATH, and its arguments.
        cwd: an absolute directory.
        env: its whole environment.
        stdout_fd: where its output goes.
        stderr_fd: where its errors go.
    """
    if not os.path.isdir(cwd):
        what = "is not a directory" if os.path.exists(cwd) else "does not exist"
        return NotStarted("bad-cwd", f"cwd {cwd} {what}")
    try:
        return subprocess.Popen(
            argv,
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=stdout_fd,
            stderr=stderr_fd,
            process_group=0,
            close_fds=True,
            restore_signals=True,
        )
    except OSError as error:
        return _explain(error, argv[0], cwd)
    except ValueError as error:  # a NUL in an argument or in the environment
        return NotStarted("spawn-failed", str(error))


def _explain(error: OSError, program: str, cwd: str) -> NotStarted:
    if error.errno == errno.E2BIG:
        return NotStarted("argument-list-too-long", f"{program}: the argument list is too long")
    if error.filename == cwd:
        return NotStarted("bad-cwd", f"cwd {cwd}: {error.strerror}")
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        if "/" in program and os.path.exists(os.path.join(cwd, program)):
            return NotStarted("not-executable", f"{program}: its interpreter does not exist")
        return NotStarted("command-not-found", f"{program}: command not found")
    if error.errno in (errno.EACCES, errno.ENOEXEC, errno.EISDIR):
        return NotStarted("not-executable", f"{program}: {error.strerror}")
    return NotStarted("spawn-failed", f"{program}: {error.strerror}")
